"""Accuracy and cost against the halo: whole labelled images tiled as `run` tiles them, with the bundled model.

`python benchmarks/halo.py NAME=ROOT:SPLIT ...` scores stitched images (not the official protocol, which has no overlap)
for several halos; cost is the number of tiles inferred, as a ratio to halo 0.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from common import save

from schanger_edge.bundled import model_path
from schanger_edge.scene.tree import LabelledPair, PairTree
from schanger_edge.scores import Counts
from schanger_edge.sessions import Session, open_session
from schanger_edge.tiling import TilePlan, pad_to_tile

HALOS = (0, 8, 16, 32, 48, 64)


def stitched(session: Session, pair: LabelledPair, halo: int) -> tuple[Counts, int]:
    """Counts over one whole image, and the tiles it took."""
    height, width = pair.label.shape
    side, tiles = session.card.tile, 0
    change = np.zeros((height, width), bool)
    for strip in TilePlan(width, height, side, halo).strips():
        for tile in strip:
            w, o = tile.window, tile.owned
            cut = np.s_[:, w.row_off : w.row_end, w.col_off : w.col_end]
            before, after = (pad_to_tile(date[cut], side)[None] for date in (pair.before, pair.after))
            owned = session.run(before, after)[0, 0][o.slices_in(w)]
            change[o.row_off : o.row_end, o.col_off : o.col_end] = owned > session.card.threshold
            tiles += 1
    return Counts.of(change, pair.label), tiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="NAME=ROOT:SPLIT")
    options = parser.parse_args()
    rows = []
    with open_session(model_path(None)) as session:
        for text in options.data:
            name, place = text.split("=", 1)
            root, split = place.rsplit(":", 1)
            pairs, first = list(PairTree(Path(root), split)), 0
            for halo in HALOS:
                results = [stitched(session, pair, halo) for pair in pairs]
                counts, tiles = sum((c for c, _ in results), Counts()), sum(n for _, n in results)
                first = first or tiles
                row = {"data": name, "images": len(pairs), "halo": halo, "f1": round(counts.f1, 4)}
                rows.append({**row, "tiles": tiles, "cost": round(tiles / first, 2)})
        card = dataclasses.asdict(session.card)
        save("halo", {"method": __doc__, "model_sha256": session.model_sha256, "tile": card["tile"], "rows": rows})


if __name__ == "__main__":
    main()
