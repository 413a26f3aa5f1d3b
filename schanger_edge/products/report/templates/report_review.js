/* What the reviewer decides of each change: kept in this browser, and in a file that is saved and loaded. */
const FORMAT = "schanger-edge decisions", VERSION = 1, KEY = `schanger-edge ${data.run}`;
const SIGNS = { accept: "✓", reject: "✗", unsure: "?" };
const SAID = { accept: "accepted", reject: "rejected", unsure: "unsure" };
const note = byId("note");
let kept = true; // this browser takes what is to be kept

function decide(decision) {
  if (!chosen) return say("Choose a change first.");
  chosen.decision = chosen.decision === decision ? "" : decision;
  decisionsChanged();
  showDecision(chosen);
}

function decideAndGo(decision) {
  if (!chosen) return say("Choose a change first.");
  if (chosen.decision !== decision) decide(decision);
  step(1, (place) => isListed(place) && !place.decision);
}

/* In the row and under the picture. */
function showDecision(place) {
  showRow(place);
  if (place !== chosen) return;
  for (const name of Object.keys(SIGNS)) {
    byId(name).disabled = false;
    byId(name).setAttribute("aria-pressed", place.decision === name);
  }
  note.disabled = !place.decision;
  note.value = place.note;
}

function showRow(place) {
  const verdict = place.button.querySelector(".verdict"), said = SAID[place.decision];
  verdict.textContent = SIGNS[place.decision] || "";
  place.button.dataset.decision = place.decision;
  const words = `Change ${place.id}: ${place.area}, probability ${percent(place.mean)}`;
  place.button.setAttribute("aria-label", said ? `${words}, ${said}` : words);
}

const decided = (kind) => places.filter((place) => place.decision === kind).length;

/* Such as `3 of 40 reviewed: 2 accepted, 1 rejected`. */
function reviewedText() {
  const kinds = Object.keys(SIGNS).filter(decided).map((kind) => `${decided(kind)} ${SAID[kind]}`);
  return `${places.length - decided("")} of ${places.length} reviewed${kinds.length ? `: ${kinds.join(", ")}` : ""}`;
}

function decisionsChanged() {
  byId("progress").value = places.length - decided("");
  byId("reviewed").textContent = reviewedText().split(":")[0];
  keep();
  filter();
}

function record() {
  const made = places.filter((place) => place.decision).map(({ id, decision, note }) => ({ id, decision, note }));
  return { format: FORMAT, version: VERSION, changes_sha256: data.run, decisions: made };
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(record()));
  } catch {
    if (kept) say("This browser keeps no decisions: save them before you close the page.");
    kept = false;
  }
}

function restore() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/* Take the decisions of a file, all or none; those on other changes stay. Throws a sentence. */
function take(text) {
  let read;
  try {
    read = JSON.parse(text);
  } catch {
    read = null;
  }
  if (read?.format !== FORMAT || !Array.isArray(read.decisions)) throw new Error("This is no file of decisions.");
  if (read.version !== VERSION) throw new Error("This file was saved by another version of the report.");
  if (read.changes_sha256 !== data.run) throw new Error("These are decisions on another run: nothing was loaded.");
  const byNumber = new Map(places.map((place) => [place.id, place]));
  const fine = ({ id, decision }) => byNumber.has(id) && Object.hasOwn(SIGNS, decision);
  if (!read.decisions.every((one) => one && fine(one))) throw new Error("This file of decisions is damaged.");
  for (const { id, decision, note } of read.decisions) {
    Object.assign(byNumber.get(id), { decision, note: String(note ?? "") });
    showDecision(byNumber.get(id));
  }
  decisionsChanged();
  return read.decisions.length;
}

function say(text) {
  byId("said")?.replaceChildren(text);
}

async function loadFile(file) {
  try {
    say(`Decisions loaded: ${take(await file.text())}.`);
  } catch (error) {
    say(error.message);
  }
}

function startReview() {
  for (const place of places) showRow(place);
  if (!places.length) return;
  for (const name of Object.keys(SIGNS)) byId(name).addEventListener("click", () => decide(name));
  note.addEventListener("input", () => {
    chosen.note = note.value;
    keep();
  });
  byId("save").addEventListener("click", () => download("decisions.json", "application/json", pretty(record())));
  byId("load").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", async ({ target }) => {
    if (target.files.length) await loadFile(target.files[0]);
    target.value = ""; // so that the same file can be loaded again
  });
  const given = JSON.parse(byId("decisions").textContent), before = given ? JSON.stringify(given) : restore();
  if (given) filters.show.value = "kept";
  try {
    if (before) take(before);
  } catch { // what was kept is damaged
    say("What this browser had kept cannot be read.");
  }
  decisionsChanged();
}
