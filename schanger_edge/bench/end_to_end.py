"""A whole run on a pair, timed from opening the model to the last product."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from schanger_edge.bench.energy import Meters, used
from schanger_edge.bench.request import ImagePair, Model
from schanger_edge.run.detect import detect


def run_pair(pair: ImagePair, model: Model, device: str, scratch: Path, meters: Meters) -> dict[str, Any]:
    """Run once; the products are removed.

    Returns:
        `seconds` in all, those in which reading, inference and writing were busy (they overlap), `megapixels`, `gsd`,
        `batch`, `joules`.
    """
    with tempfile.TemporaryDirectory(prefix=".bench.", dir=scratch) as folder:
        before = meters.joules()
        summary = detect(pair.before, pair.after, folder, model=model.path, device=device).summary
        joules = used(before, meters.joules())
    seconds = summary["seconds"]
    return {
        "seconds": seconds["total"], "batch": summary["engine"]["batch"], "gsd": summary["grid"]["gsd"],
        "megapixels": summary["pixels"]["total"] / 1e6, "joules": joules,
        **{stage: seconds[stage] for stage in ("read_busy", "infer_busy", "write_busy")},
    }  # fmt: skip
