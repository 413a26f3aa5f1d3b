"""The factory: trains SChanger and turns it into model files. Needs the `export` extra; the field does not."""
