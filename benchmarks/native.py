"""What the native engine changes in the result: difference from ONNX Runtime, pixels that flip, points of F1.

`python benchmarks/native.py MODEL --score NAME=ROOT[:SPLIT] ...` runs every labelled tile by ONNX Runtime and by each
precision of the native engine (the best instruction set of this processor), by the official protocol.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import Any

from common import save

from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.evaluation.protocol import predicted_tiles
from schanger_edge.model.file import read_model
from schanger_edge.sessions import open_session
from schanger_edge.sessions.native.engine import NativeSession
from schanger_edge.sessions.native.library import Kernels, kernels


def best_of_each_precision() -> list[Kernels]:
    """The first kind of kernels for each precision."""
    return list({kind.precision: kind for kind in reversed(kernels())}.values())


def score(model: Path, root: Path, split: str) -> dict[str, dict[str, Any]]:
    """Agreement of each precision with ONNX Runtime over a split, and the pixels whose change differs."""
    files = pair_files(root, split)
    rule, found = LabelRule.for_files(files), {kind: Agreement() for kind in best_of_each_precision()}
    opened = read_model(model)
    with contextlib.ExitStack() as stack:
        reference = stack.enter_context(open_session(opened, "cpu", threads=1))
        own = [stack.enter_context(NativeSession(opened, 1, kind.precision, kind.isa)) for kind in found]
        runs = [predicted_tiles(files, rule, session.run, reference.least_tile) for session in (reference, *own)]
        for (entry, wanted), *others in zip(*runs, strict=True):
            for agreement, (_, got) in zip(found.values(), others, strict=True):
                agreement.add(wanted, got, entry.label)
    return {" ".join(kind): _row(one) for kind, one in found.items()}


def _row(one: Agreement) -> dict[str, Any]:
    flipped = one.own_map.false_positive + one.own_map.false_negative
    return {
        **one.as_dict(),
        "largest_difference": float(f"{one.largest:.2g}"),
        "pixels": one.pixels,
        "flipped": flipped,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--score", required=True, nargs="+", metavar="NAME=ROOT[:SPLIT]")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    for task in options.score:
        name, _, place = task.partition("=")
        root, _, split = place.partition(":")
        rows[name] = score(options.model, Path(root), split)
        print(name, rows[name], flush=True)
        file = read_model(options.model)
        tile = file.smaller_tile or file.card.tile
        save("native", {"method": __doc__, "model": file.card.name, "tile": tile, "rows": rows})


if __name__ == "__main__":
    main()
