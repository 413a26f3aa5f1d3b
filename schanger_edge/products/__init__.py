"""The only room that writes results: maps, polygons, summary and preview, each under one fixed name."""

PROBABILITY = "probability.tif"
CHANGE = "change.tif"
POLYGONS = "changes.gpkg"
SUMMARY = "summary.json"
PREVIEW = "preview.png"

PRODUCTS = (PROBABILITY, CHANGE, POLYGONS, SUMMARY, PREVIEW)
"""Every name a run may write, so that a folder can be cleared of an earlier run's results."""
