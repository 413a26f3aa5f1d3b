"""Grids, windows, areas and footprints on the ellipsoid: values and pure functions."""
