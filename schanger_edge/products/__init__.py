"""The only room that writes results: maps, polygons, report, preview and summary, each under one fixed name."""

PROBABILITY = "probability.tif"
CHANGE = "change.tif"
POLYGONS = "changes.gpkg"
SUMMARY = "summary.json"
PREVIEW = "preview.png"
REPORT = "report.html"

PRODUCTS = (PROBABILITY, CHANGE, POLYGONS, SUMMARY, PREVIEW, REPORT)
"""Every name a run may write, so that a folder can be cleared of an earlier run's results."""
