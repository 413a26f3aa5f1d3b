/* On a phone the list is a sheet over the picture, which its handle opens and shuts by a tap or a swipe. */
const sheet = byId("changes"), handle = byId("handle");
const SWIPE = 24; // CSS pixels
let grasped = null;

function setSheet(open) {
  sheet.classList.toggle("open", open);
  handle.setAttribute("aria-expanded", open);
}

handle.addEventListener("pointerdown", (event) => {
  grasped = event.clientY;
  handle.setPointerCapture(event.pointerId);
});
handle.addEventListener("pointermove", (event) => {
  if (grasped === null || Math.abs(event.clientY - grasped) < SWIPE) return;
  setSheet(event.clientY < grasped);
  grasped = null;
  handle.dataset.swiped = "yes"; // the click that follows is no tap
});
handle.addEventListener("click", () => {
  if (!handle.dataset.swiped) setSheet(!sheet.classList.contains("open"));
  delete handle.dataset.swiped;
});
