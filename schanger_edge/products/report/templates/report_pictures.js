/* Small pictures of one change: in the list, where they are asked for, and in print. */
const AROUND = 1.8, LEAST = 64; // side of a picture for each pixel of the change in it; scene pixels at least
const THUMB = 240; // pixels of those in the list, shown half as large

function cropOf({ box: [left, top, right, bottom] }) {
  const side = Math.max(AROUND * Math.max(right - left, bottom - top), LEAST);
  const x = (left + right - side) / 2, y = (top + bottom - side) / 2;
  return { x, y, side, box: [x, y, x + side, y + side] };
}

const meets = (a, b) => a[0] < b[2] && a[2] > b[0] && a[1] < b[3] && a[3] > b[1];
const detailsIn = (box) => data.details.filter((detail) => meets(detail.box, box));

/* Draw one date around a change on a square canvas, from the pictures that are decoded. */
function drawPlace(canvas, place, name) {
  const { x, y, side, box } = cropOf(place), k = canvas.width / side, pen = canvas.getContext("2d", { alpha: false });
  const at = { k, x: -x * k, y: -y * k, ratio: canvas.width / 160 };
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.fillStyle = "#20252a";
  pen.fillRect(0, 0, canvas.width, canvas.width);
  pen.save();
  paint(pen, name, at, detailsIn(box));
  pen.restore();
  pen.setTransform(1, 0, 0, 1, 0, 0);
  stroke(pen, [place], at, FOUND);
}

/* Wait until the pictures are there that show a date around a change. */
function decodedFor(place, name) {
  const images = [overview[name], ...detailsIn(cropOf(place).box).map((detail) => detailImage(detail, name))];
  const missing = images.filter((image) => !ready(image));
  return Promise.all(missing.map((image) => image.decode().catch(() => {}))); // a broken one stays empty
}

function canvasOf(side) {
  const made = element("canvas");
  made.width = side;
  made.height = side;
  return made;
}

/* In the list only rows in view hold pictures. */
const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.querySelector(".pictures")?.remove();
    if (isIntersecting) addPictures(target, places.find((place) => place.item === target));
  }
}, { root: list, rootMargin: "200px" });

async function addPictures(item, place) {
  const row = element("span", "", "pictures"), canvases = ["before", "after"].map(() => canvasOf(THUMB));
  row.append(...canvases);
  place.button.append(row);
  for (const [index, name] of ["before", "after"].entries()) {
    await decodedFor(place, name);
    drawPlace(canvases[index], place, name);
  }
}

function togglePictures() {
  const on = list.classList.toggle("pictured");
  byId("pictures").setAttribute("aria-pressed", on);
  watcher.disconnect();
  for (const place of places) {
    place.button.querySelector(".pictures")?.remove();
    if (on) watcher.observe(place.item);
  }
}

byId("pictures")?.addEventListener("click", togglePictures);
