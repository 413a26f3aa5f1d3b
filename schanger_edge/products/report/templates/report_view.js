"use strict";
/* The picture: two layers left and right of a divider, outlines over both; moved by pointer, wheel and keys. */
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const stage = byId("stage"), canvas = byId("picture"), divider = byId("divider"), tip = byId("tip");
const pen = canvas.getContext("2d", { alpha: false });
const CLICK = 6; // CSS pixels a pointer may move and still click
const SMALL = 6; // CSS pixels below which a change is a ring instead of an outline
const KEPT = 36; // detail pictures kept decoded

const places = data.places.map((place) => ({
  ...place, rings: place.rings.map(pointsOf), listed: true, decision: "", note: "",
}));
const view = { x: data.width / 2, y: data.height / 2, scale: 1 }; // scene pixel in the middle; CSS pixels per scene pixel
const shown = { left: "before", right: "after", split: 0.5, outlines: true, blink: "" }; // blink: the side alone in view
let chosen = null, hovered = null; // places
let fitted = true; // all that was compared is shown, and stays so when the window changes
let frame = 0, motion = 0, blinking = 0;

/* A ring is its first point and the steps from each point to the next. */
function pointsOf(ring) {
  for (let i = 2; i < ring.length; i += 1) ring[i] += ring[i - 2];
  return ring;
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

/* Pictures are decoded when they are first seen; of the details, only the latest stay decoded. */
const overview = {}, decoded = new Map();
for (const [name, { url }] of Object.entries(data.overview)) overview[name] = load(url);

function load(url) {
  const image = new Image();
  image.onload = redraw;
  image.src = url;
  return image;
}

function detailImage(detail, name) {
  const url = detail.pictures[name], image = decoded.get(url) || load(url);
  decoded.delete(url);
  decoded.set(url, image);
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return image;
}

const ready = (image) => image.complete && image.naturalWidth > 0;
const width = () => stage.clientWidth;
const height = () => stage.clientHeight;

/* The scene pixel under a point of the stage, and the point over a scene pixel. */
const toScene = (px, py) => [view.x + (px - width() / 2) / view.scale, view.y + (py - height() / 2) / view.scale];
const toStage = (x, y) => [(x - view.x) * view.scale + width() / 2, (y - view.y) * view.scale + height() / 2];

function inView([left, top, right, bottom]) {
  const [x0, y0] = toScene(0, 0), [x1, y1] = toScene(width(), height());
  return left < x1 && right > x0 && top < y1 && bottom > y0;
}

function redraw() {
  if (!frame) frame = requestAnimationFrame(draw);
}

function draw() {
  frame = 0;
  const ratio = canvas.width / width() || 1, k = view.scale * ratio;
  const at = { k, x: canvas.width / 2 - view.x * k, y: canvas.height / 2 - view.y * k, ratio };
  const share = { left: 1, right: 0 }[shown.blink] ?? shown.split, split = Math.round(canvas.width * share);
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.fillStyle = "#20252a";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  drawLayer(shown.left, 0, split, at);
  drawLayer(shown.right, split, canvas.width, at);
  if (shown.outlines) drawOutlines(at);
  drawNotes(at);
}

function drawLayer(name, from, to, at) {
  pen.save();
  pen.beginPath();
  pen.rect(from, 0, to - from, canvas.height);
  pen.clip();
  paint(pen, name, at, data.details.filter((detail) => inView(detail.box)));
  pen.restore();
}

/* A layer's pictures, where `at` says that scene pixels lie: k to one, from x and y. */
function paint(pen, name, at, details) {
  pen.setTransform(at.k, 0, 0, at.k, at.x, at.y);
  pen.beginPath();
  pen.rect(0, 0, data.width, data.height);
  pen.clip();
  pen.imageSmoothingEnabled = at.k < 6; // closer than that, pixels are pixels
  pen.imageSmoothingQuality = "high";
  const whole = overview[name];
  if (ready(whole)) pen.drawImage(whole, 0, 0, ...data.overview[name].size);
  if (at.k * data.step <= 1) return;
  for (const detail of details) {
    const [left, top, right, bottom] = detail.box, image = detailImage(detail, name);
    if (ready(image)) pen.drawImage(image, left, top, right - left, bottom - top);
  }
}

const DARK = "rgb(0 0 0 / .6)", FOUND = [[DARK, 3.25], ["#ffe600", 1.5]], REJECTED = [[DARK, 2.5], ["#c4cad0", 1]];
const MARKED = [["#000", 7], ["#00e5ff", 3.5]];

function drawOutlines(at) {
  const seen = places.filter((place) => place.listed && inView(place.box));
  stroke(pen, seen.filter((place) => place.decision === "reject"), at, REJECTED);
  stroke(pen, seen.filter((place) => place.decision !== "reject"), at, FOUND);
  stroke(pen, [hovered, chosen].filter(Boolean), at, MARKED);
}

function stroke(pen, list, at, lines) {
  pen.beginPath();
  pen.lineJoin = "round";
  for (const place of list) trace(pen, place, at);
  for (const [color, size] of lines) {
    pen.strokeStyle = color;
    pen.lineWidth = size * at.ratio;
    pen.stroke();
  }
}

function trace(pen, place, { k, x, y, ratio }) {
  const [left, top, right, bottom] = place.box;
  if (Math.max(right - left, bottom - top) * k < SMALL * ratio) {
    const cx = (left + right) / 2 * k + x, cy = (top + bottom) / 2 * k + y, radius = SMALL / 2 * ratio;
    pen.moveTo(cx + radius, cy);
    pen.arc(cx, cy, radius, 0, 2 * Math.PI);
    return;
  }
  for (const ring of place.rings) {
    pen.moveTo(ring[0] * k + x, ring[1] * k + y);
    for (let i = 2; i < ring.length; i += 2) pen.lineTo(ring[i] * k + x, ring[i + 1] * k + y);
    pen.closePath();
  }
}

/* The scale, how coarse the overview is where nothing finer is there, and the colours of probability. */
function drawNotes(at) {
  const bar = byId("scale-bar");
  bar.hidden = !data.metres;
  if (data.metres) {
    const longest = 110 * data.metres / view.scale, power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].find((digit) => digit * power <= longest) * power;
    bar.style.width = `${length * view.scale / data.metres}px`;
    bar.textContent = length >= 1000 ? `${length / 1000} km` : `${Number(length.toPrecision(1))} m`;
  }
  const inside = ([left, top, right, bottom]) => view.x >= left && view.x < right && view.y >= top && view.y < bottom;
  const coarse = byId("coarse");
  coarse.hidden = at.k * data.step < 2.5 || data.step === 1 || data.details.some((detail) => inside(detail.box));
  coarse.textContent = data.metres
    ? `overview: ${Number((data.metres * data.step).toPrecision(2))} m per screen pixel`
    : `overview: one screen pixel per ${data.step} × ${data.step} image pixels`;
  byId("legend").hidden = shown.left !== "probability" && shown.right !== "probability";
}

/* Moving about. */
const fitScale = () => Math.min(width() / data.width, height() / data.height);

function setView(x, y, scale) {
  view.scale = clamp(scale, fitScale() * 0.7, Math.max(16, fitScale() * 4));
  view.x = clamp(x, 0, data.width);
  view.y = clamp(y, 0, data.height);
  redraw();
}

function fit() {
  const [left, top, right, bottom] = data.compared;
  stopMotion();
  setView((left + right) / 2, (top + bottom) / 2, Math.min(width() / (right - left), height() / (bottom - top)));
  fitted = true;
}

function zoom(factor, px = width() / 2, py = height() / 2) {
  const [x, y] = toScene(px, py);
  fitted = false;
  setView(view.x, view.y, view.scale * factor);
  setView(x - (px - width() / 2) / view.scale, y - (py - height() / 2) / view.scale, view.scale);
}

function pan(dx, dy) {
  fitted = false;
  setView(view.x - dx / view.scale, view.y - dy / view.scale, view.scale);
}

/* Show a place with what is around it. */
function jump(place) {
  const [left, top, right, bottom] = place.box;
  const room = Math.min(width() / (right - left), height() / (bottom - top)) / 2.4;
  const scale = clamp(room, fitScale(), Math.max(2 * fitScale(), 4));
  const target = { x: (left + right) / 2, y: (top + bottom) / 2, scale };
  fitted = false;
  stopMotion();
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    setView(target.x, target.y, target.scale);
    return;
  }
  const from = { ...view }, began = performance.now();
  const step = (now) => {
    const t = clamp((now - began) / 280, 0, 1), eased = t * t * (3 - 2 * t);
    const mix = (a, b) => a + (b - a) * eased;
    setView(mix(from.x, target.x), mix(from.y, target.y), from.scale * (target.scale / from.scale) ** eased);
    motion = t < 1 ? requestAnimationFrame(step) : 0;
  };
  motion = requestAnimationFrame(step);
}

function stopMotion() {
  cancelAnimationFrame(motion);
  motion = 0;
}

function setSplit(share) {
  shown.split = clamp(share, 0, 1);
  const percent = Math.round(shown.split * 100);
  divider.style.left = `${shown.split * 100}%`;
  divider.setAttribute("aria-valuenow", percent);
  divider.setAttribute("aria-valuetext", `${shown.left} ${percent} %, ${shown.right} ${100 - percent} %`);
  redraw();
}

function setLayer(side, name) {
  shown[side] = name;
  byId(side).value = name;
  setSplit(shown.split);
}

/* The two pictures in turn in one place: what differs blinks. */
const BLINK = 700; // milliseconds of each: slow enough for those whom flashes harm

function toggleBlink() {
  clearInterval(blinking);
  blinking = blinking ? 0 : setInterval(() => blinkTo(shown.blink === "left" ? "right" : "left"), BLINK);
  byId("blink").setAttribute("aria-pressed", Boolean(blinking));
  blinkTo(blinking ? "left" : "");
}

function blinkTo(side) {
  shown.blink = side;
  divider.hidden = Boolean(side);
  for (const one of ["left", "right"]) byId(one).parentElement.classList.toggle("away", Boolean(side) && one !== side);
  redraw();
}

function toggleOutlines() {
  shown.outlines = !shown.outlines;
  byId("outlines").setAttribute("aria-pressed", shown.outlines);
  redraw();
}

/* The smallest change under a point of the stage: inside its outline, or near it where it is small. */
function placeAt(px, py) {
  const [x, y] = toScene(px, py), near = SMALL / view.scale;
  let best = null, least = Infinity;
  for (const place of places.filter((one) => one.listed)) {
    const [left, top, right, bottom] = place.box, size = Math.max(right - left, bottom - top);
    if (x < left - near || x > right + near || y < top - near || y > bottom + near || size > least) continue;
    const small = size * view.scale < 2 * SMALL; // it is hit by what is near
    if (small || place.rings.reduce((odd, ring) => odd !== crosses(ring, x, y), false)) {
      best = place;
      least = size;
    }
  }
  return best;
}

/* True where a ray from the point crosses the ring an odd number of times. */
function crosses(ring, x, y) {
  let odd = false;
  for (let i = 0, j = ring.length - 2; i < ring.length; j = i, i += 2) {
    const above = ring[i + 1] > y, other = ring[j + 1] > y;
    if (above !== other && x < (ring[j] - ring[i]) * (y - ring[i + 1]) / (ring[j + 1] - ring[i + 1]) + ring[i]) odd = !odd;
  }
  return odd;
}

new ResizeObserver(() => {
  const ratio = devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width() * ratio));
  canvas.height = Math.max(1, Math.round(height() * ratio));
  if (fitted) fit();
  draw(); // a canvas that changes its size is empty until it is drawn
}).observe(stage);
