/* What is printed: behind the cover a map with numbers, then each listed change with both dates. */
const PRINTED = 300; // changes at most: about a hundred pages
const MAP = 1600, PICTURE = 480; // pixels along their sides

function printedPlaces() {
  return ranked.filter((place) => place.listed).slice(0, PRINTED).sort((a, b) => a.id - b.id);
}

/* The later date with outlines and numbers; a number that would cover another is left out. */
function drawMap(printed) {
  const [left, top, right, bottom] = data.compared, canvas = canvasOf(MAP), k = MAP / Math.max(right - left, bottom - top);
  canvas.width = Math.max(1, Math.round((right - left) * k));
  canvas.height = Math.max(1, Math.round((bottom - top) * k));
  const pen = canvas.getContext("2d", { alpha: false }), at = { k, x: -left * k, y: -top * k, ratio: 2 }, taken = [];
  pen.save();
  paint(pen, "after", at, []);
  pen.restore();
  pen.setTransform(1, 0, 0, 1, 0, 0);
  stroke(pen, printed, at, FOUND);
  pen.font = "bold 26px sans-serif";
  pen.lineWidth = 6;
  pen.strokeStyle = "#000";
  pen.fillStyle = "#fff";
  for (const place of printed) {
    const [x0, , x1, y1] = place.box, text = String(place.id), wide = pen.measureText(text).width;
    const x = clamp((x0 + x1) / 2 * k + at.x - wide / 2, 4, canvas.width - wide - 4);
    const y = clamp(y1 * k + at.y + 26, 26, canvas.height - 6), box = [x, y - 24, x + wide, y];
    if (taken.some((other) => meets(other, box))) continue;
    taken.push(box);
    pen.strokeText(text, x, y);
    pen.fillText(text, x, y);
  }
  return canvas;
}

/* A JPEG prints as it is; a canvas would take ten times the bytes. */
function still(canvas, words) {
  const image = new Image();
  image.src = canvas.toDataURL("image/jpeg", 0.85);
  image.alt = words;
  image.width = canvas.width;
  image.height = canvas.height;
  return image;
}

function entryOf(place) {
  const entry = element("section", "", "entry"), head = element("h3", `#${place.id}`), pair = element("div", "", "pair");
  const facts = element("p", [
    place.area, `probability ${percent(place.mean)}, up to ${percent(place.peak)}`, whereText(place),
    SAID[place.decision],
  ].filter(Boolean).join(" · "));
  for (const name of ["before", "after"]) {
    const figure = element("figure"), canvas = canvasOf(PICTURE);
    drawPlace(canvas, place, name);
    figure.append(still(canvas, `#${place.id}, ${name}`), element("figcaption", name));
    pair.append(figure);
  }
  entry.append(head, facts);
  if (place.note) entry.append(element("p", place.note, "said"));
  entry.append(pair);
  return entry;
}

function fillPrint(entries) {
  const printed = printedPlaces(), all = order.length;
  const some = all > printed.length ? `, the first ${printed.length} of ${all} that are listed`
    : all < places.length ? `, ${all} of ${places.length}` : "";
  byId("printed-review")?.replaceChildren(reviewedText());
  byId("printed-title").textContent = `Changes${some}`;
  byId("printed-map").replaceChildren(still(drawMap(printed), "The later date with the changes and their numbers"));
  byId("printed").replaceChildren(...entries);
}

let prepared = false;

/* With every picture in detail: those are decoded on the way, which a browser doesn't wait for once it prints. */
async function preparePrint() {
  const entries = [];
  for (const place of printedPlaces()) {
    for (const name of ["before", "after"]) await decodedFor(place, name);
    entries.push(entryOf(place));
  }
  fillPrint(entries);
  await Promise.all([...byId("paper").querySelectorAll("img")].map((image) => image.decode()));
  prepared = true;
}

function startPrint() {
  addEventListener("beforeprint", () => {
    if (!prepared) fillPrint(printedPlaces().map(entryOf));
  });
  addEventListener("afterprint", () => {
    prepared = false;
  });
  byId("print")?.addEventListener("click", async () => {
    await preparePrint();
    print();
  });
  if (location.hash === "#print") preparePrint();
}
