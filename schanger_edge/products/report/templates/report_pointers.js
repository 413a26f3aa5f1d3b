/* Pointers: one drags, two pinch, a short touch chooses. */
const pointers = new Map();
let moved = 0;

function spot(event) {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button > 0) return;
  stopMotion();
  canvas.setPointerCapture(event.pointerId);
  if (!pointers.size) moved = 0;
  pointers.set(event.pointerId, spot(event));
  hover(null);
});
canvas.addEventListener("pointermove", (event) => {
  const now = spot(event), last = pointers.get(event.pointerId);
  if (!last) {
    if (event.pointerType !== "touch") hover(placeAt(...now), now);
    return;
  }
  const other = [...pointers].find(([id]) => id !== event.pointerId);
  pointers.set(event.pointerId, now);
  moved += Math.hypot(now[0] - last[0], now[1] - last[1]);
  if (other) {
    const [ox, oy] = other[1], spread = ([x, y]) => Math.hypot(x - ox, y - oy) || 1;
    pan((now[0] - last[0]) / 2, (now[1] - last[1]) / 2);
    zoom(spread(now) / spread(last), (now[0] + ox) / 2, (now[1] + oy) / 2);
  } else if (moved > CLICK) {
    canvas.classList.add("moving");
    pan(now[0] - last[0], now[1] - last[1]);
  }
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, (event) => {
    const alone = pointers.size === 1 && pointers.delete(event.pointerId);
    pointers.delete(event.pointerId);
    canvas.classList.remove("moving");
    if (kind === "pointerup" && alone && moved <= CLICK) {
      const place = placeAt(...spot(event));
      if (place) choose(place);
    }
  });
}
canvas.addEventListener("pointerleave", () => hover(null));
canvas.addEventListener("dblclick", (event) => zoom(2, ...spot(event)));
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  stopMotion();
  const lines = event.deltaMode === 1 ? 16 : 1;
  zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0018)), ...spot(event));
}, { passive: false });

divider.addEventListener("pointerdown", (event) => {
  if (event.button > 0) return;
  divider.setPointerCapture(event.pointerId);
  divider.focus({ preventScroll: true });
  event.preventDefault();
});
divider.addEventListener("pointermove", (event) => {
  if (divider.hasPointerCapture(event.pointerId)) setSplit(spot(event)[0] / width());
});

function hover(place, [px, py] = [0, 0]) {
  if (place !== hovered) {
    hovered = place;
    redraw();
  }
  canvas.classList.toggle("over", Boolean(place));
  tip.hidden = !place;
  if (!place) return;
  fillTip(place);
  const left = px + 16 + tip.offsetWidth > width() ? px - 16 - tip.offsetWidth : px + 16;
  const top = clamp(py + 16, 0, Math.max(0, height() - tip.offsetHeight - 8));
  tip.style.transform = `translate(${Math.max(0, left)}px, ${top}px)`;
}
