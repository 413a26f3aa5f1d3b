/* Which changes are listed: outlines, the steps from one to the next, exports and print follow the list. */
const filters = { show: byId("show"), size: byId("least-size"), mean: byId("least-mean"), threshold: byId("threshold") };
const SHOWN = {
  all: () => true, kept: (place) => place.decision !== "reject", open: (place) => !place.decision,
  accept: (place) => place.decision === "accept", reject: (place) => place.decision === "reject",
  unsure: (place) => place.decision === "unsure",
};

function isListed(place) {
  const least = Number(filters.size.value) || 0, threshold = Number(filters.threshold.value);
  return SHOWN[filters.show.value](place) && place.size >= least && place.mean >= Number(filters.mean.value)
    && (threshold <= data.threshold || place.peak > threshold);
}

function filter() {
  let changed = false;
  for (const place of places) {
    const listed = isListed(place);
    changed ||= listed !== place.listed;
    place.listed = listed;
  }
  if (changed) fillList();
  byId("mean-told").textContent = Number(filters.mean.value).toFixed(2);
  byId("threshold-told").textContent = Number(filters.threshold.value).toFixed(2);
  byId("listed").textContent = order.length < places.length ? `${order.length} of ${places.length} listed` : "";
  redraw();
}

function showAll() {
  filters.show.value = "all";
  filters.size.value = "";
  filters.mean.value = 0;
  filters.threshold.value = data.threshold;
  filter();
}

for (const control of Object.values(filters)) control?.addEventListener("input", filter);
byId("show-all")?.addEventListener("click", showAll);
