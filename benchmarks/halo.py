"""Accuracy and cost against the halo: whole labelled images tiled as `run` tiles them, with the bundled model.

`python benchmarks/halo.py NAME=ROOT:SPLIT ...` scores stitched images (not the official protocol, which has no overlap)
for several halos; cost is the number of tiles inferred, as a ratio to halo 0.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from common import save

from schanger_edge.bundled import model_path
from schanger_edge.scene.layouts import pair_files
from schanger_edge.scene.protocol import predicted_tiles
from schanger_edge.scene.samples import LabelRule
from schanger_edge.scores import Counts
from schanger_edge.sessions import open_session

THRESHOLD = 0.5
HALOS = (0, 8, 16, 32, 48, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="NAME=ROOT:SPLIT")
    options = parser.parse_args()
    rows = []
    with open_session(model_path(None)) as session:
        for text in options.data:
            name, place = text.split("=", 1)
            root, split = place.rsplit(":", 1)
            files, first = pair_files(Path(root), split), 0
            rule = LabelRule.for_files(files)
            for halo in HALOS:
                predicted = predicted_tiles(files, rule, session.run, session.card.tile, halo)
                owned = [Counts.of(probability > THRESHOLD, tile.label) for tile, probability in predicted]
                counts, tiles = sum(owned, Counts()), len(owned)
                first = first or tiles
                row = {"data": name, "images": len(files), "halo": halo, "f1": round(counts.f1, 4)}
                rows.append({**row, "tiles": tiles, "cost": round(tiles / first, 2)})
        card = dataclasses.asdict(session.card)
        save("halo", {"method": __doc__, "model_sha256": session.model_sha256, "tile": card["tile"], "rows": rows})


if __name__ == "__main__":
    main()
