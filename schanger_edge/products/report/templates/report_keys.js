/* Keys and buttons, and what happens when the page opens. */
const KEYS = {
  n: () => step(1), j: () => step(1), p: () => step(-1), k: () => step(-1), "+": () => zoom(1.5), "=": () => zoom(1.5),
  "-": () => zoom(1 / 1.5), 0: fit, o: toggleOutlines, c: () => copyPlace(line.querySelector("button")),
  a: () => decide("accept"), x: () => decide("reject"), u: () => decide("unsure"), A: () => decideAndGo("accept"),
  X: () => decideAndGo("reject"), U: () => decideAndGo("unsure"), b: toggleBlink,
  "?": () => byId("help").showModal(), ArrowLeft: () => setSplit(shown.split - 0.02),
  ArrowRight: () => setSplit(shown.split + 0.02),
};
const SHIFTED = { ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80] };
const SLIDER = { Home: 0, End: 1 };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target.matches("select, input")) {
    if (event.target.id === "note" && ["Enter", "Escape"].includes(event.key)) event.target.blur();
    return;
  }
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
byId("blink").addEventListener("click", toggleBlink);
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
for (const side of ["left", "right"]) byId(side).addEventListener("change", (event) => setLayer(side, event.target.value));
for (const by of ["area", "probability"]) byId(`by-${by}`)?.addEventListener("click", () => sort(by));
if (innerWidth < 700) { // on a phone the picture comes first
  for (const name of ["warnings", "about"]) byId(name)?.removeAttribute("open");
}
sort("area");
setSplit(shown.split);
startReview();
startPrint();
