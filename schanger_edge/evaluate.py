"""A model against labels, by the official protocol: `schanger-edge evaluate`.

Non-overlapping tiles, no resizing, no test-time augmentation, change = probability > 0.5, one confusion matrix over
the whole split.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.bundled import model_path
from schanger_edge.datasets import dataset as benchmark_dataset
from schanger_edge.errors import ProductError
from schanger_edge.files import replacing
from schanger_edge.grid import Window
from schanger_edge.pipeline import Prefetch
from schanger_edge.scene.tree import LabelledPair, PairTree
from schanger_edge.scores import Counts
from schanger_edge.sessions import Session, open_session
from schanger_edge.tiling import TilePlan, pad_to_tile

THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one split; scores lie in 0-1, published F1 in percent as in the article."""

    dataset: str | None
    split: str
    model: str
    model_sha256: str
    device: str
    tile: int
    threshold: float
    label_rule: str
    images: int
    tiles: int
    official_tiles: int | None
    f1: float
    precision: float
    recall: float
    iou: float
    accuracy: float
    counts: Counts
    paper_f1: float | None
    checkpoint_f1: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def evaluate(
    root: str | PathLike[str],
    *,
    dataset: str | None = None,
    split: str = "test",
    model: str | PathLike[str] | None = None,
    json_file: str | PathLike[str] | None = None,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model on `ROOT/{split}/{A,B,label}`.

    Images larger than a tile are cut into tiles; where a size is no multiple of the tile, the last tile shifts in
    and only its uncounted pixels count, so every pixel counts once.

    Args:
        root: folder that holds the split.
        dataset: name of a benchmark dataset, whose published F1 then stands beside that of its test split; None for
            others.
        split: `test`, `val`, `train`.
        model: an .onnx file or the name of a bundled model.
        json_file: where to write the result as JSON.
        device: `cpu`.
        progress: called with images done and images in all.

    Raises:
        SchangerError: the dataset or the model is not usable.
    """
    if json_file is not None and (Path(json_file).is_dir() or not Path(json_file).parent.is_dir()):
        raise ProductError(f"{json_file} cannot be written: give a file in a folder that exists.")
    benchmark = benchmark_dataset(dataset) if dataset else None
    published = benchmark if split == "test" else None  # published figures are of the test split
    tree = PairTree(Path(root), split)
    counts, tiles = Counts(), 0
    with open_session(model_path(model), device) as session:
        with Prefetch(tree, 2) as reader:
            for index, pair in enumerate(reader, 1):
                for change, label in predict_tiles(session, pair):
                    counts, tiles = counts + Counts.of(change, label), tiles + 1
                if progress:
                    progress(index, len(tree))
        size = session.card.size
        result = Evaluation(
            dataset=dataset, split=split, model=session.model.name, model_sha256=session.model_sha256,
            device=session.device, tile=session.card.tile, threshold=THRESHOLD, label_rule=tree.label_rule,
            images=len(tree), tiles=tiles,
            official_tiles=published.test_tiles if published else None,
            f1=counts.f1, precision=counts.precision, recall=counts.recall, iou=counts.iou,
            accuracy=counts.accuracy, counts=counts,
            paper_f1=published.paper_f1.get(size) if published else None,
            checkpoint_f1=published.checkpoint_f1.get(size) if published else None,
        )  # fmt: skip
    if json_file is not None:
        with replacing(Path(json_file), ProductError) as temporary:
            temporary.write_text(json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def predict_tiles(
    session: Session, pair: LabelledPair, halo: int = 0
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """(change, label) of the owned pixels of every tile of one pair; the official protocol has no halo."""
    height, width = pair.label.shape
    side, scene = session.card.tile, Window(0, 0, width, height)
    for strip in TilePlan(width, height, side, halo).strips():
        for tile in strip:
            rows, cols = tile.window.slices_in(scene)
            # One tile at a time: on a CPU more tiles at once cost more per tile.
            before, after = (pad_to_tile(image[:, rows, cols], side)[None] for image in (pair.before, pair.after))
            change = session.run(before, after)[0, 0][tile.owned.slices_in(tile.window)] > THRESHOLD
            yield change, pair.label[tile.owned.slices_in(scene)]
