"""The only room that writes results: maps, polygons, report, preview and summary, each under one fixed name."""

PROBABILITY = "probability.tif"
CHANGE = "change.tif"
POLYGONS = "changes.gpkg"
GEOPARQUET = "changes.parquet"
FLATGEOBUF = "changes.fgb"
SUMMARY = "summary.json"
PREVIEW = "preview.png"
REPORT = "report.html"
STAC_ITEM = "item.json"

STANDARD = (PROBABILITY, CHANGE, POLYGONS, SUMMARY, PREVIEW, REPORT)
"""What every run writes."""
PRODUCTS = (*STANDARD, GEOPARQUET, FLATGEOBUF, STAC_ITEM)
"""Every name a run may write, so that a folder can be cleared of an earlier run's results."""
