/* The list of changes, and the line about the chosen one. */
const list = byId("list"), line = byId("place");
const percent = (share) => `${share > 0.994 ? "> 99" : Math.round(share * 100)} %`; // no model is certain
let ranked = places.slice(), order = ranked, rank = "area"; // all in their order; of these, what is listed

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (name) made.className = name;
  return made;
}

function whereText({ position, inside }) {
  return position ? position.map((degrees) => degrees.toFixed(6)).join(", ") : `column ${inside[0]}, row ${inside[1]}`;
}

for (const place of places) {
  const button = element("button"), meter = element("span", "", "meter"), level = element("i");
  button.type = "button";
  button.tabIndex = -1;
  level.style.width = `${place.mean * 100}%`;
  meter.append(level);
  button.append(
    element("span", `#${place.id}`, "number"), element("span", place.area, "area"), meter,
    element("span", percent(place.mean), "sure"), element("span", "", "verdict"),
  );
  button.addEventListener("click", () => go(place));
  button.addEventListener("focus", () => mark(place));
  button.addEventListener("blur", () => mark(null));
  place.button = button;
  place.item = element("li");
  place.item.append(button);
}

/* Outline a place, and say what it is where it is in view. */
function mark(place) {
  const [px, py] = place ? toStage(...place.inside) : [0, 0];
  hover(place, [px, py]);
  tip.hidden = !place || place === chosen || px < 0 || py < 0 || px > width() || py > height();
}

function sort(by) {
  rank = by;
  ranked = places.slice().sort((a, b) => (by === "probability" ? b.mean - a.mean : 0) || a.id - b.id);
  fillList();
  list.scrollTop = 0;
  for (const name of ["area", "probability"]) byId(`by-${name}`)?.setAttribute("aria-pressed", name === by);
}

/* The rows of what is listed. */
function fillList() {
  order = ranked.filter((place) => place.listed);
  list.replaceChildren(...order.map((place) => place.item));
  setStop(chosen?.listed ? chosen : order[0]);
}

/* Tab goes to one row of the list; arrows go on from there. */
function setStop(place) {
  for (const other of places) other.button.tabIndex = other === place ? 0 : -1;
}

function fillTip(place) {
  tip.replaceChildren(
    element("b", `#${place.id}, ${place.area}`),
    `probability ${percent(place.mean)}, up to ${percent(place.peak)}`, element("br"), whereText(place),
  );
}

/* Make a place the chosen one, without moving the picture. */
function choose(place) {
  if (chosen) chosen.button.removeAttribute("aria-current");
  chosen = place;
  place.button.setAttribute("aria-current", "true");
  setStop(place);
  if (list.scrollHeight > list.clientHeight) { // the list scrolls by itself, the page doesn't move
    const row = place.button.getBoundingClientRect(), box = list.getBoundingClientRect();
    if (row.top < box.top) list.scrollTop -= box.top - row.top;
    if (row.bottom > box.bottom) list.scrollTop += row.bottom - box.bottom;
  }
  const where = element("span", "", "where"), copy = element("button", "Copy");
  copy.type = "button";
  copy.setAttribute("aria-label", "Copy the coordinates");
  copy.addEventListener("click", () => copyPlace(copy));
  where.append(element("span", whereText(place)), copy);
  if (place.position) {
    const link = element("a", "Map");
    link.setAttribute("aria-label", "Open in a map app");
    link.href = `geo:${place.position}?q=${place.position}`;
    where.append(link);
  }
  const sure = element("span", `probability ${percent(place.mean)}, up to ${percent(place.peak)}`);
  line.replaceChildren(element("b", `#${place.id}`), element("b", place.area), sure, where);
  showDecision(place);
  redraw();
}

function go(place) {
  setSheet(false);
  choose(place);
  jump(place);
}

/* To the next that is listed, also from one that no longer is. */
function step(by, wanted = (place) => place.listed) {
  const count = ranked.length;
  let at = chosen ? ranked.indexOf(chosen) : by > 0 ? -1 : 0;
  for (let tries = 0; tries < count; tries += 1) {
    at = (at + by + count) % count;
    if (wanted(ranked[at])) return go(ranked[at]);
  }
}

async function copyPlace(button) {
  if (!chosen) return;
  const text = whereText(chosen);
  try {
    await navigator.clipboard.writeText(text);
  } catch { // some browsers refuse it to files
    const field = document.body.appendChild(element("textarea", text, "hidden"));
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  if (button) {
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }
}

list.addEventListener("keydown", (event) => {
  const moves = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  if (!(event.key in moves) || event.shiftKey) return;
  const at = order.findIndex((place) => place.button === document.activeElement);
  const place = order[clamp(at + moves[event.key], 0, order.length - 1)];
  setStop(place);
  place.button.focus();
  event.preventDefault();
});
