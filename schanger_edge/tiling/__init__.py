"""How a scene is divided into tiles, how they are blended, and how work overlaps in time; no files, no model."""
