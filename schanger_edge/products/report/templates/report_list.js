/* The list of changes, the line about the chosen one, and the keys. */
const list = byId("list"), line = byId("place");
const percent = (share) => `${share > 0.994 ? "> 99" : Math.round(share * 100)} %`; // no model is certain
let order = places.slice();

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
    element("span", percent(place.mean), "sure"),
  );
  button.setAttribute("aria-label", `Change ${place.id}: ${place.area}, probability ${percent(place.mean)}`);
  button.addEventListener("click", () => go(place));
  button.addEventListener("focus", () => mark(place));
  button.addEventListener("blur", () => mark(null));
  place.button = button;
}

/* Outline a place, and say what it is where it is in view. */
function mark(place) {
  const [px, py] = place ? toStage(...place.inside) : [0, 0];
  hover(place, [px, py]);
  tip.hidden = !place || place === chosen || px < 0 || py < 0 || px > width() || py > height();
}

function sort(by) {
  order = places.slice().sort((a, b) => (by === "probability" ? b.mean - a.mean : 0) || a.id - b.id);
  const rows = document.createDocumentFragment();
  for (const place of order) {
    const item = element("li");
    item.append(place.button);
    rows.append(item);
  }
  list.replaceChildren(rows);
  list.scrollTop = 0;
  setStop(chosen || order[0]);
  for (const name of ["area", "probability"]) byId(`by-${name}`)?.setAttribute("aria-pressed", name === by);
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
  redraw();
}

function go(place) {
  choose(place);
  jump(place);
  if (stage.getBoundingClientRect().top < 0) stage.scrollIntoView({ block: "start" }); // on a phone, from far down the list
}

function step(by) {
  if (!order.length) return;
  const from = chosen ? order.indexOf(chosen) : by > 0 ? -1 : 0;
  go(order[(from + by + order.length) % order.length]);
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

const KEYS = {
  n: () => step(1), j: () => step(1), p: () => step(-1), k: () => step(-1), "+": () => zoom(1.5), "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5), 0: fit, o: toggleOutlines, c: () => copyPlace(line.querySelector("button")),
  "?": () => byId("help").showModal(), ArrowLeft: () => setSplit(shown.split - 0.02),
  ArrowRight: () => setSplit(shown.split + 0.02),
};
const SHIFTED = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
const SLIDER = { Home: 0, End: 1 };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open || event.target.tagName === "SELECT") return;
  const digit = /^(?:Digit|Numpad)([123])$/.exec(event.code);
  if (digit) setLayer(event.shiftKey ? "left" : "right", ["before", "after", "probability"][digit[1] - 1]);
  else if (event.shiftKey && event.key in SHIFTED) pan(...SHIFTED[event.key]);
  else if (event.target === divider && event.key in SLIDER) setSplit(SLIDER[event.key]);
  else if (event.key in KEYS) KEYS[event.key]();
  else return;
  event.preventDefault();
});

byId("zoom-in").addEventListener("click", () => zoom(1.5));
byId("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
byId("whole").addEventListener("click", fit);
byId("outlines").addEventListener("click", toggleOutlines);
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
for (const side of ["left", "right"]) byId(side).addEventListener("change", (event) => setLayer(side, event.target.value));
for (const by of ["area", "probability"]) byId(`by-${by}`)?.addEventListener("click", () => sort(by));
if (innerWidth < 700) byId("warnings")?.removeAttribute("open"); // on a phone the picture comes first
sort("area");
setSplit(shown.split);
