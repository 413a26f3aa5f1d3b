"""A model against labels, by the official protocol: `schanger-edge evaluate`.

Non-overlapping tiles, no resizing, no test-time augmentation, change = probability > 0.5, one confusion matrix over
the whole split. Or stitched: the images as `run` would map them, all else the same. Beside the scores: a gallery of the
worst images, and a sweep over all thresholds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.doubts import Doubts
from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule, warning_on_labels
from schanger_edge.errors import ModelError, ProductError, SchangerError, require
from schanger_edge.evaluation.gallery import Gallery
from schanger_edge.evaluation.options import EvaluationOptions
from schanger_edge.evaluation.protocol import LabelledTile, predicted_tiles
from schanger_edge.evaluation.scores import Counts
from schanger_edge.evaluation.stitched import stitched_tiles
from schanger_edge.evaluation.sweep import Sweep, SweepCounter, draw_curve
from schanger_edge.files import check_writable, replacing
from schanger_edge.model.bundled import model_path
from schanger_edge.model.card import ModelCard
from schanger_edge.model.decision import is_change
from schanger_edge.model.published import BenchmarkDataset
from schanger_edge.model.published import dataset as benchmark_dataset
from schanger_edge.notebook import page_piece
from schanger_edge.progress import Progress, heard
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.engine_report import EngineReport, engine_report

THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of one model on one split; scores lie in 0-1, published F1 in percent as in the article.

    `halo` is None by the official protocol, whose tiles don't overlap; a number where images were stitched as by `run`.
    `tile` is then that of the largest image: smaller ones, which don't fill it, may have had smaller tiles.
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
    warnings: tuple[str, ...] = ()
    sweep: Sweep | None = None

    @property
    def tiling(self) -> str:
        """How the images were cut, in words."""
        return "official protocol" if self.halo is None else f"whole images as in run, halo {self.halo}"

    def __repr__(self) -> str:
        return f"Evaluation({self.model} on {self.dataset or 'own data'} {self.split}: {self._words()})"

    def _repr_html_(self) -> str:
        return page_piece(f"{self.model} on {self.dataset or 'own data'}, {self.split}", self._words(), self.warnings)

    def _words(self) -> str:
        scores = (f"{name} {100 * getattr(self, name):.2f}" for name in ("f1", "precision", "recall", "iou"))
        return f"{', '.join(scores)}; {self.images} images"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; the sweep has a file of its own."""
        values = {**dataclasses.asdict(self), "engine": self.engine.as_dict()}
        return {key: value for key, value in values.items() if key != "sweep"}


def evaluate(
    root: str | PathLike[str],
    options: EvaluationOptions | None = None,
    *,
    progress: Progress | bool | None = None,
    **keywords: Any,
) -> Evaluation:
    """Score a model on a labelled dataset in any layout that `datasets.layouts` knows: `ROOT/SPLIT/{A,B,label}`, ...

    Images larger than a tile are cut into tiles; where a size is no multiple of the tile, the last tile shifts in
    and only its uncounted pixels count, so every pixel counts once. Stitched, each pixel is predicted once as well, but
    with the context that it has in `run`; a pixel without data in either date doesn't count.

    Args:
        root: folder that holds the split.
        options: see `EvaluationOptions`.
        progress: called with (stage, done, total): `images`, and before it the phases of a plan being built;
            True shows a bar, or lines off a terminal.
        keywords: any of the options by name, such as `split="val"`.

    Raises:
        SchangerError: the dataset or the model is not usable, or a result cannot be written.
    """
    options = (options or EvaluationOptions()).replace(**keywords)
    scoring, engine, results = options.scoring, options.engine, options.results
    json_file, gallery, sweep = (
        None if path is None else Path(path) for path in (results.json_file, results.gallery, results.sweep)
    )
    _check_outputs([path for path in (json_file, gallery, sweep) if path is not None], sweep, scoring.gsd)
    if scoring.halo is not None and not scoring.stitched:
        raise SchangerError("--halo applies to --stitched only: the official protocol has no halo.")
    benchmark = benchmark_dataset(scoring.dataset) if scoring.dataset else None
    files = pair_files(Path(root), scoring.split)
    rule = LabelRule.for_files(files, scoring.label_rule)
    page = Gallery(results.gallery_count) if gallery is not None else None
    with (
        heard(progress) as told,
        open_session(model_path(engine.model, told), engine.device, binding=engine.cuda, progress=told) as session,
    ):
        counter = SweepCounter(session.card.threshold) if sweep is not None else None
        tile = session.least_tile
        halo = _halo(scoring.halo, session.card.halo, tile) if scoring.stitched else None
        doubts, fill = Doubts(), session.card.normalization.mean_colors
        if halo is not None:
            predicted = stitched_tiles(files, rule, session, halo, doubts)
        else:  # one tile at a time: on a CPU more tiles at once cost more per tile
            predicted = predicted_tiles(files, rule, session.run, tile, fill=fill, doubts=doubts)
        counted = _count(predicted, len(files), page, counter, told)
        counts = counted.counts
        if counted.empty:
            doubts.add([f"{counted.empty:,} pixels have no data in one of the dates: they don't count."])
        published = benchmark if scoring.split == "test" and not scoring.stitched else None  # of that split's tiles
        size = session.card.size
        where = f"{Path(root)} {scoring.split}"
        alike = warning_on_labels(where, files, rule, counts.kinds_of_labels, "--label")
        result = Evaluation(
            dataset=scoring.dataset,
            split=scoring.split,
            model=session.model.name,
            model_sha256=session.model_sha256,
            device=session.device,
            tile=tile if halo is None else session.tile_for(counted.side, counted.side),
            threshold=THRESHOLD,
            label_rule=str(rule),
            images=len(files),
            tiles=counted.tiles,
            official_tiles=published.test_tiles if published else None,
            f1=counts.f1,
            precision=counts.precision,
            recall=counts.recall,
            iou=counts.iou,
            accuracy=counts.accuracy,
            counts=counts,
            halo=halo,
            paper_f1=published.paper_f1.get(size) if published else None,
            checkpoint_f1=published.checkpoint_f1.get(size) if published else None,
            engine=engine_report(session),
            warnings=tuple(filter(None, (alike, *doubts.sentences))),
        )
        if counter is not None:
            found = counter.result(*_gsd(scoring.gsd, benchmark, session.card))
            result = dataclasses.replace(result, sweep=found)
        title = f"{session.card.name} on {scoring.dataset or Path(root).resolve().name} {scoring.split}".rstrip(". ")
        if page is not None and gallery is not None:
            page.write(gallery, title, _facts(session, result, Path(root)), counts, len(files))
    if sweep is not None and (note := _write_sweep(sweep, result, title)):
        result = dataclasses.replace(result, warnings=(*result.warnings, note))
    if json_file is not None:
        with replacing(json_file, ProductError) as temporary:
            temporary.write_text(json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def _check_outputs(outputs: Sequence[Path], sweep: Path | None, gsd: float | None) -> None:
    """Refuse what would fail after the work."""
    if sweep is not None:
        require("matplotlib", "bench")
        if sweep.suffix.lower() == ".png":
            raise ProductError(f"--sweep must name the .json file, not {sweep}: the .png is written beside it.")
        outputs = [*outputs, sweep.with_suffix(".png")]
    if gsd is not None and not 0 < gsd < float("inf"):
        raise ProductError(f"--gsd must be a positive number of metres per pixel, not {gsd}.")
    for path in outputs:
        check_writable(path, ProductError)
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise ProductError("two results would be written to the same file: give each its own name.")


def _halo(given: int | None, own: int, tile: int) -> int:
    """The halo to stitch with; the tile is the smallest that images may get."""
    if given is None:
        return own
    if not 0 <= 2 * given < tile:
        raise ModelError(f"--halo must be at least 0 and less than half the model's tile of {tile}, not {given}.")
    return given


class _Counted(NamedTuple):
    """What a pass over the split finds."""

    counts: Counts
    tiles: int
    empty: int
    """Pixels without data."""
    side: int
    """The shorter side of the image that is largest by it."""


def _count(
    predicted: Iterable[tuple[LabelledTile, NDArray[np.float32]]],
    images: int,
    page: Gallery | None,
    counter: SweepCounter | None,
    progress: Progress | None,
) -> _Counted:
    """One pass over the split; page and counter take what they need."""
    counts, tiles, done, pixels, side = Counts(), 0, 0, 0, 0
    for entry, probability in predicted:
        change = is_change(probability, THRESHOLD)
        counts, tiles = counts + Counts.of(change, entry.label, entry.valid), tiles + 1
        pixels += change.size
        side = max(side, min(entry.scene.height, entry.scene.width))
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
    return _Counted(counts, tiles, pixels - counts.total, side)


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


def _write_sweep(path: Path, result: Evaluation, title: str) -> str:
    """The JSON and, beside it, the curve; returns as `drawing.draw`."""
    sweep = result.sweep
    assert sweep is not None
    head = {key: getattr(result, key) for key in ("dataset", "split", "model", "model_sha256", "label_rule", "images")}
    text = json.dumps({**head, **dataclasses.asdict(sweep)}, indent=2) + "\n"
    with replacing(path, ProductError) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return draw_curve(path.with_suffix(".png"), sweep, title)
