"""The only room that writes results: maps, polygons, report, preview and summary, each under one fixed name."""

PROBABILITY = "probability.tif"
CHANGE = "change.tif"
POLYGONS = "changes.gpkg"
SUMMARY = "summary.json"
PREVIEW = "preview.png"
REPORT = "report.html"
STAC_ITEM = "item.json"
