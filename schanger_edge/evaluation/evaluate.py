"""A model against labels, by the official protocol: `schanger-edge evaluate`.

Non-overlapping tiles, no resizing, no test-time augmentation, change = probability > 0.5, one confusion matrix over
the whole split. Or stitched: the images as `run` would map them, all else the same. Beside the scores: a gallery of the
worst images, and a sweep over all thresholds.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.benchmarks import BenchmarkDataset
from schanger_edge.datasets.benchmarks import dataset as benchmark_dataset
from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule
from schanger_edge.errors import ModelError, ProductError, SchangerError, require
from schanger_edge.evaluation.curve import draw_curve
from schanger_edge.evaluation.gallery import Gallery
from schanger_edge.evaluation.protocol import LabelledTile, predicted_tiles
from schanger_edge.evaluation.scores import Counts
from schanger_edge.evaluation.stitched import stitched_tiles
from schanger_edge.evaluation.sweep import Sweep, SweepCounter, SweepPoint
from schanger_edge.files import replacing
from schanger_edge.model.bundled import model_path
from schanger_edge.model.card import ModelCard
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.engine_report import EngineReport, engine_report
from schanger_edge.sessions.gpu import Binding

THRESHOLD = 0.5
GALLERY_COUNT = 40

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one split; scores lie in 0-1, published F1 in percent as in the article.

    `halo` is None by the official protocol, whose tiles don't overlap; a number where images were stitched as by `run`.
    """

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
    engine: EngineReport
    halo: int | None = None
    sweep: Sweep | None = None

    @property
    def tiling(self) -> str:
        """How the images were cut, in words."""
        return "official protocol" if self.halo is None else f"stitched as by run, halo {self.halo}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the sweep has a file of its own."""
        values = {**dataclasses.asdict(self), "engine": self.engine.as_dict()}
        return {key: value for key, value in values.items() if key != "sweep"}


def evaluate(
    root: str | PathLike[str],
    *,
    dataset: str | None = None,
    split: str = "test",
    model: str | PathLike[str] | None = None,
    json_file: str | PathLike[str] | None = None,
    device: str = "cpu",
    cuda: Binding | None = None,
    label_rule: str = "auto",
    gallery: str | PathLike[str] | None = None,
    gallery_count: int = GALLERY_COUNT,
    sweep: str | PathLike[str] | None = None,
    gsd: float | None = None,
    stitched: bool = False,
    halo: int | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a model on a labelled dataset in any layout that `scene.layouts` knows, such as `ROOT/{split}/{A,B,label}`.

    Images larger than a tile are cut into tiles; where a size is no multiple of the tile, the last tile shifts in
    and only its uncounted pixels count, so every pixel counts once. Stitched, each pixel is predicted once as well, but
    with the context that it has in `run`; a pixel without data in either date doesn't count.

    Args:
        root: folder that holds the split.
        dataset: name of a benchmark dataset, whose published F1 then stands beside that of its test split; None for
            others.
        split: `test`, `val`, `train`; "." where the root itself holds the folders.
        model: an .onnx file or the name of a bundled model.
        json_file: where to write the result as JSON.
        device: `cpu`, `cpu:openvino`, `cuda`, `cuda:onnxruntime` or `auto`, see `sessions.open_session`.
        cuda: by whom CUDA is reached, `cuda-python` or `pycuda`.
        label_rule: which label values mean change, see `LabelRule.for_files`.
        gallery: where to write an HTML page of the images with most wrong pixels.
        gallery_count: how many images it shows at most.
        sweep: where to write the scores at all thresholds as JSON; the curve is drawn beside it as .png.
        gsd: metres per pixel, for the sweep's false alarms per km2; None takes the dataset's, else the model's.
        stitched: read and tile each image as `run` does. Published figures are not of this, so none is told.
        halo: with `stitched`, context on each side of a tile; None takes the model's.
        progress: told (stage, done, total): `images`, and before it the phases of a plan being built.

    Raises:
        SchangerError: the dataset or the model is not usable, or a result cannot be written.
    """
    outputs = [Path(path) for path in (json_file, gallery, sweep) if path is not None]
    _check_outputs(outputs, None if sweep is None else Path(sweep), gsd)
    if halo is not None and not stitched:
        raise SchangerError("--halo is for stitched images, the official protocol has none: give --stitched too.")
    benchmark = benchmark_dataset(dataset) if dataset else None
    files = pair_files(Path(root), split)
    rule = LabelRule.for_files(files, label_rule)
    page = Gallery(gallery_count) if gallery is not None else None
    with open_session(model_path(model), device, binding=cuda, progress=progress) as session:
        counter = SweepCounter(session.card.threshold) if sweep is not None else None
        if stitched:
            halo = _halo(halo, session.card)
            predicted = stitched_tiles(files, rule, session, halo)
        else:  # one tile at a time: on a CPU more tiles at once cost more per tile
            predicted = predicted_tiles(files, rule, session.run, session.card.tile)
        counts, tiles = _count(predicted, len(files), page, counter, progress)
        published = benchmark if split == "test" and not stitched else None  # figures are of the test split's tiles
        result = _evaluation(session, dataset, split, str(rule), len(files), tiles, halo, counts, published)
        if counter is not None:
            result = dataclasses.replace(result, sweep=counter.result(*_gsd(gsd, benchmark, session.card)))
        title = f"{session.card.name} on {dataset or Path(root).resolve().name} {split}".rstrip(". ")
        if page is not None:
            page.write(Path(gallery or ""), title, _facts(session, result, Path(root)), counts, len(files))
    if sweep is not None:
        _write_sweep(Path(sweep), result, title)
    if json_file is not None:
        with replacing(Path(json_file), ProductError) as temporary:
            temporary.write_text(json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def _check_outputs(outputs: Sequence[Path], sweep: Path | None, gsd: float | None) -> None:
    """Refuse what would fail after the work."""
    if sweep is not None:
        require("matplotlib", "bench")
        if sweep.suffix.lower() == ".png":
            raise ProductError(f"{sweep} is the name of the curve: give the .json file, the .png appears beside it.")
        outputs = [*outputs, sweep.with_suffix(".png")]
    if gsd is not None and not 0 < gsd < float("inf"):
        raise ProductError(f"--gsd must be a positive number of metres per pixel, not {gsd}.")
    for path in outputs:
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise ProductError(f"{path} cannot be written: give a file in a folder that exists and may be written.")
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise ProductError("two results would be written to one file: give each its own name.")


def _halo(given: int | None, card: ModelCard) -> int:
    """The halo to stitch with."""
    if given is None:
        return card.halo
    if not 0 <= 2 * given < card.tile:
        raise ModelError(f"--halo must be at least 0 and less than half the model's tile of {card.tile}, not {given}.")
    return given


def _count(
    predicted: Iterable[tuple[LabelledTile, NDArray[np.float32]]],
    images: int,
    page: Gallery | None,
    counter: SweepCounter | None,
    progress: Progress | None,
) -> tuple[Counts, int]:
    """One pass over the split: counts and number of tiles; page and counter take what they need."""
    counts, tiles, done = Counts(), 0, 0
    for entry, probability in predicted:
        change = probability > THRESHOLD
        counts, tiles = counts + Counts.of(change, entry.label, entry.valid), tiles + 1
        if page is not None:
            page.add(entry.scene, entry.owned, entry.owned_images, entry.label, probability, change, entry.valid)
        if counter is not None:
            counter.add(entry.scene, entry.owned, probability, entry.label, entry.valid)
        if entry.last:
            done += 1
            if page is not None:
                page.end_image(entry.files.name)
            if counter is not None:
                counter.end_image()
            if progress:
                progress("images", done, images)
    return counts, tiles


def _evaluation(
    session: Session, dataset: str | None, split: str, rule: str, images: int, tiles: int, halo: int | None,
    counts: Counts, published: BenchmarkDataset | None,
) -> Evaluation:  # fmt: skip
    size = session.card.size
    return Evaluation(
        dataset=dataset, split=split, model=session.model.name, model_sha256=session.model_sha256,
        device=session.device, tile=session.card.tile, threshold=THRESHOLD, label_rule=rule,
        images=images, tiles=tiles,
        official_tiles=published.test_tiles if published else None,
        f1=counts.f1, precision=counts.precision, recall=counts.recall, iou=counts.iou,
        accuracy=counts.accuracy, counts=counts, halo=halo,
        paper_f1=published.paper_f1.get(size) if published else None,
        checkpoint_f1=published.checkpoint_f1.get(size) if published else None,
        engine=engine_report(session),
    )  # fmt: skip


def _gsd(given: float | None, benchmark: BenchmarkDataset | None, card: ModelCard) -> tuple[float | None, str]:
    """Metres per pixel and where that is from."""
    if given is not None:
        return given, "given"
    if benchmark is not None and benchmark.gsd is not None:
        return benchmark.gsd, f"{benchmark.name} as published"
    if card.gsd is not None:
        return card.gsd, "model card"
    return None, "unknown"


def _facts(session: Session, result: Evaluation, root: Path) -> dict[str, str]:
    """What stands at the top of the gallery."""
    card = session.card
    return {
        "model": f"{card.name} ({result.model})",
        "network": f"{card.size}, {card.precision}",
        "trained on": card.dataset,
        "trained at": "unknown" if card.gsd is None else f"{card.gsd:g} m",
        "sha256": result.model_sha256[:16],
        "licence": card.license or "not stated",
        "device": result.device,
        "data": str(root / result.split),
        "images": f"{result.images:,}, in {result.tiles:,} tiles of {result.tile} x {result.tile}, {result.tiling}",
        "label": result.label_rule,
        "change": f"probability > {result.threshold}",
        "own threshold": f"{card.threshold:g}",
    }


def _write_sweep(path: Path, result: Evaluation, title: str) -> None:
    """The JSON and, beside it, the curve."""
    sweep = result.sweep
    assert sweep is not None
    own = sweep.at_model_threshold
    marks = [_mark("best", sweep.best)] if sweep.best else []
    drawn = [point for point in sweep.points if point.precision or point.recall]
    head = {key: getattr(result, key) for key in ("dataset", "split", "model", "model_sha256", "label_rule", "images")}
    text = json.dumps({**head, **sweep.as_dict()}, indent=2) + "\n"
    curve = path.with_suffix(".png")
    with replacing(path, ProductError) as temporary, replacing(curve, ProductError) as picture:
        draw_curve(
            picture, [point.recall for point in drawn], [point.precision for point in drawn],
            [*marks, _mark("model's own", own)], f"{title}: average precision {sweep.average_precision:.3f}",
        )  # fmt: skip
        temporary.write_text(text)


def _mark(text: str, point: SweepPoint) -> tuple[str, float, float]:
    return f"{text}: {point.threshold:.2f}, F1 {100 * point.f1:.1f} %", point.recall, point.precision
