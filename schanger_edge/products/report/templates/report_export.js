/* The listed changes as files. Outlines are those of this page, simplified; `schanger-edge review` writes the exact ones. */
const pretty = (value) => `${JSON.stringify(value, null, 2)}\n`;

function download(name, type, text) {
  const link = element("a"), address = URL.createObjectURL(new Blob([text], { type }));
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  say(`Saved: ${name}.`);
}

const fieldsOf = ({ id, size, mean, peak, decision, note }) => ({
  id, [data.measured]: size, probability_mean: mean, probability_max: peak, decision: decision || null, note: note || null,
});

/* A ring as [longitude, latitude], closed, the outer one counterclockwise, holes clockwise. */
function onEarth({ at, position, steps }, ring, isHole) {
  const [latCol, lonCol, latRow, lonRow] = steps, points = [];
  for (let i = 0; i < ring.length; i += 2) {
    const col = ring[i] - at[0], row = ring[i + 1] - at[1];
    points.push([position[1] + lonCol * col + lonRow * row, position[0] + latCol * col + latRow * row]);
  }
  points.push(points[0]);
  const twice = points.slice(1).reduce((sum, [x, y], i) => sum + (x - points[i][0]) * (y + points[i][1]), 0);
  if ((twice > 0) !== isHole) points.reverse();
  return points.map((point) => point.map((degrees) => Number(degrees.toFixed(7))));
}

const polygonOf = (place) => place.rings.map((ring, index) => onEarth(place, ring, index > 0));

function geojson() {
  const features = order.map((place) => ({
    type: "Feature", properties: fieldsOf(place), geometry: { type: "Polygon", coordinates: polygonOf(place) },
  }));
  return pretty({ type: "FeatureCollection", features });
}

function csv() {
  const cell = (value) => (/[",\r\n]/.test(value ?? "") ? `"${value.replaceAll('"', '""')}"` : value ?? "");
  const where = ({ position, inside }) => (position
    ? { longitude: position[1], latitude: position[0] } : { column: inside[0], row: inside[1] });
  const rows = order.map((place) => ({ ...fieldsOf(place), ...where(place) }));
  return [Object.keys(rows[0] ?? {}), ...rows.map(Object.values)].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

const KML = "http://www.opengis.net/kml/2.2"; // a name, from which nothing is loaded

function kml() {
  const made = document.implementation.createDocument(KML, "kml");
  const add = (parent, name, text) => {
    const child = parent.appendChild(made.createElementNS(KML, name));
    if (text !== undefined) child.textContent = text;
    return child;
  };
  const folder = add(made.documentElement, "Document");
  for (const place of order) {
    const mark = add(folder, "Placemark"), more = [];
    add(mark, "name", place.id);
    more.push(place.area, `probability ${percent(place.mean)}`, SAID[place.decision], place.note);
    add(mark, "description", more.filter(Boolean).join(", "));
    const polygon = add(mark, "Polygon");
    polygonOf(place).forEach((ring, index) => {
      const border = add(add(polygon, index ? "innerBoundaryIs" : "outerBoundaryIs"), "LinearRing");
      add(border, "coordinates", ring.map((point) => point.join(",")).join(" "));
    });
  }
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(made)}\n`;
}

const EXPORTS = {
  geojson: ["application/geo+json", geojson], csv: ["text/csv", csv], kml: ["application/vnd.google-earth.kml+xml", kml],
};
for (const [name, [type, text]] of Object.entries(EXPORTS)) {
  byId(name)?.addEventListener("click", () => download(`changes-reviewed.${name}`, type, text()));
}
