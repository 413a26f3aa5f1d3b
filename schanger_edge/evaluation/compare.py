"""Two models on the same tiles: `schanger-edge compare`."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.draw import draw_tiles
from schanger_edge.datasets.tile_pool import WholeTile, sources_or_rendered
from schanger_edge.errors import ModelError, ProductError
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.evaluation.gallery import Colors, gray
from schanger_edge.evaluation.options import ComparisonOptions
from schanger_edge.files import replacing
from schanger_edge.model.bundled import model_path
from schanger_edge.model.decision import is_change
from schanger_edge.model.plan import SUFFIX
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.engine_report import EngineReport, engine_report

SEED = 36
WARM = 1  # tiles at the start that are not timed


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on the same tiles.

    Attributes:
        models: files of both.
        devices: engine and device of both.
        precisions: by their cards.
        agreement: the second against the first, each at its own threshold.
        latency_ms: median milliseconds of one pair of tiles, of both, run by turns.
        latency_ratio: median over tiles of the second's time divided by the first's.
        tiles: file and offset of each tile.
        engines: how both ran.
        label_rules: which values of the labels count, in words; empty without labels.
        warnings: what is doubtful, in sentences: labels that are all alike, what the files of the tiles leave open.
    """

    models: tuple[str, str]
    devices: tuple[str, str]
    precisions: tuple[str, str]
    agreement: Agreement
    latency_ms: tuple[float, float]
    latency_ratio: float
    tiles: list[str]
    engines: tuple[EngineReport, EngineReport]
    label_rules: list[str]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = {"agreement": self.agreement.as_dict(), "engines": [one.as_dict() for one in self.engines]}
        return {**vars(self), **parts}


def compare(
    first: str | PathLike[str],
    second: str | PathLike[str],
    sources: Sequence[str] = (),
    options: ComparisonOptions | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
    **keywords: Any,
) -> Comparison:
    """Run two models on the same tiles, by turns.

    Args:
        first: an .onnx file, a name that `schanger-edge models` lists, or a TensorRT plan.
        second: the same.
        sources: pairs to draw tiles from, see `sources.TILES`; rendered scenes where there are none.
        options: see `ComparisonOptions`.
        progress: called with (stage, done, total).
        keywords: any of the options by name.

    Raises:
        SchangerError: a model or a source is not usable, or a result cannot be written.
    """
    options = dataclasses.replace(options or ComparisonOptions(), **keywords)
    notify = progress or (lambda *_: None)
    with _opened(first, options, progress) as one, _opened(second, options, progress) as other:
        side, threshold = _common_tile(one, other), one.card.threshold
        (tiles,) = draw_tiles(
            sources_or_rendered(sources),
            side,
            (options.count,),
            SEED,
            lambda tile: is_change(_timed(one, tile)[0], threshold),
            lambda done, total: notify("tiles", done, total),
        )
        agreement, sheet, times = Agreement(), TileSheet(), []
        for number, (name, tile) in enumerate(zip(tiles.names(), tiles, strict=True), 1):
            (mine, my_time), (theirs, their_time) = _timed(one, tile), _timed(other, tile)
            times.append((my_time, their_time))
            mean = agreement.add(mine, theirs, tile.label, (threshold, other.card.threshold))
            sheet.add(mean, name, tile.before, tile.after, mine, theirs)
            notify("compare", number, len(tiles))
        timed, rules = times[WARM:] or times, tiles.label_rules()
        result = Comparison(
            models=(str(one.model), str(other.model)),
            devices=(one.device, other.device),
            precisions=(one.card.precision, other.card.precision),
            agreement=agreement,
            latency_ms=(_milliseconds(mine for mine, _ in timed), _milliseconds(theirs for _, theirs in timed)),
            latency_ratio=round(statistics.median(theirs / mine for mine, theirs in timed), 3),
            tiles=tiles.names(),
            engines=(engine_report(one), engine_report(other)),
            label_rules=rules,
            warnings=tuple(filter(None, (agreement.warning(rules), *tiles.warnings))),
        )
    if options.worst is not None:
        with replacing(Path(options.worst), ProductError) as temporary:
            sheet.write(temporary, (one.model.stem, other.model.stem))
    if options.json_file is not None:
        with replacing(Path(options.json_file), ProductError) as temporary:
            temporary.write_text(json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def _opened(
    model: str | PathLike[str], options: ComparisonOptions, progress: Callable[[str, int, int], None] | None
) -> Session:
    path = model_path(model, progress)
    device = "cuda" if path.suffix == SUFFIX else options.device
    return open_session(path, device, binding=options.cuda, progress=progress)


def _common_tile(one: Session, other: Session) -> int:
    """The side of tiles that both take; of two the smaller one."""
    taken = ({session.card.tile, session.least_tile} for session in (one, other))
    common = set.intersection(*taken)
    if not common:
        raise ModelError(
            f"the models take tiles of {one.card.tile} and {other.card.tile} pixels: export one of them again with the "
            "other's --tile."
        )
    return min(common)


def _milliseconds(seconds: Iterable[float]) -> float:
    return round(1000 * statistics.median(seconds), 2)


def _timed(session: Session, tile: WholeTile) -> tuple[NDArray[np.float32], float]:
    """Probability (T, T), and seconds."""
    began = time.perf_counter()
    probability = session.run(tile.before[None], tile.after[None])[0, 0]
    return probability, time.perf_counter() - began


ROWS = 8
SIDE = 224
HEAD, CAPTION, GAP = 26, 18, 6
COLUMNS = 5
INK, PAPER = (40, 40, 40), 255


class TileSheet:
    """Keeps the eight tiles with the largest mean difference."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, str, list[Colors]]] = []  # the worst first

    def add(
        self,
        mean: float,
        name: str,
        before: NDArray[np.uint8],
        after: NDArray[np.uint8],
        first: NDArray[np.float32],
        second: NDArray[np.float32],
    ) -> None:
        """Take a tile: its mean difference, both dates (3, T, T), and both probabilities (T, T)."""
        if len(self._kept) < ROWS or mean > self._kept[-1][0]:
            difference = cv2.applyColorMap(gray(np.abs(first - second) * 255), cv2.COLORMAP_INFERNO)
            dates = (image[::-1].transpose(1, 2, 0) for image in (before, after))
            pictures = [_small(image) for image in (*dates, gray(first * 255), gray(second * 255), difference)]
            self._kept = sorted([*self._kept, (mean, name, pictures)], key=lambda entry: -entry[0])[:ROWS]

    def write(self, path: Path, names: tuple[str, str]) -> None:
        """Write the sheet as PNG, the worst tile first; `names` are the models'."""
        height = HEAD + len(self._kept) * (SIDE + CAPTION + GAP)
        sheet: Any = np.full((height, COLUMNS * (SIDE + GAP) + GAP, 3), PAPER, np.uint8)
        titles = ("before", "after", names[0], names[1], "difference, 0 to 1")
        for column, title in enumerate(titles):
            _write(sheet, title[:32], (GAP + column * (SIDE + GAP), HEAD - 9))
        for row, (mean, name, pictures) in enumerate(self._kept):
            top = HEAD + row * (SIDE + CAPTION + GAP)
            for column, picture in enumerate(pictures):
                left = GAP + column * (SIDE + GAP)
                sheet[top : top + SIDE, left : left + SIDE] = picture
            _write(sheet, f"mean difference {mean:.4f}   {name[-110:]}", (GAP, top + SIDE + CAPTION - 4))
        ok, encoded = cv2.imencode(".png", sheet)
        assert ok
        path.write_bytes(encoded.tobytes())


def _small(image: Any) -> Colors:
    resized: Colors = cv2.resize(np.ascontiguousarray(image), (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return resized


def _write(sheet: Any, text: str, place: tuple[int, int]) -> None:
    cv2.putText(sheet, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
