"""Two models on the same tiles: `schanger-edge compare`."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.datasets.draw import draw_tiles
from schanger_edge.datasets.rendered import sources_or_rendered
from schanger_edge.datasets.tile_pool import WholeTile
from schanger_edge.errors import ModelError, ProductError
from schanger_edge.evaluation.agreement import Agreement
from schanger_edge.evaluation.tile_sheet import TileSheet
from schanger_edge.files import replacing
from schanger_edge.model.bundled import model_path
from schanger_edge.sessions import Session, open_session
from schanger_edge.sessions.engine_report import Account, account
from schanger_edge.sessions.gpu import Binding
from schanger_edge.sessions.tensorrt.plans import SUFFIX

TILES = 32
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
    """

    models: tuple[str, str]
    devices: tuple[str, str]
    precisions: tuple[str, str]
    agreement: Agreement
    latency_ms: tuple[float, float]
    latency_ratio: float
    tiles: list[str]
    engines: tuple[Account, Account]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**plain, "agreement": self.agreement.as_dict(), "engines": [one.as_dict() for one in self.engines]}


def compare(
    first: str | PathLike[str],
    second: str | PathLike[str],
    *,
    sources: Sequence[str] = (),
    count: int = TILES,
    worst: str | PathLike[str] | None = None,
    json_file: str | PathLike[str] | None = None,
    device: str = "cpu",
    cuda: Binding | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Run two models on the same tiles, by turns.

    Args:
        first: an .onnx file, the name of a bundled model, or a TensorRT plan.
        second: the same.
        sources: pairs to draw tiles from, see `sources.TILES`; rendered scenes where there are none.
        count: tiles.
        worst: where to write a PNG of the tiles that differ most.
        json_file: where to write the result as JSON.
        device: of .onnx files, see `sessions.open_session`; plans run on the GPU.
        cuda: by whom CUDA is reached, `cuda-python` or `pycuda`.
        progress: told (stage, done, total).

    Raises:
        SchangerError: a model or a source is not usable, or a result cannot be written.
    """
    tell = progress or (lambda *_: None)
    if count < 1:
        raise ProductError(f"--tiles must be at least 1, not {count}.")
    with _opened(first, device, cuda, progress) as one, _opened(second, device, cuda, progress) as other:
        if one.card.tile != other.card.tile:
            raise ModelError(
                f"the models take tiles of {one.card.tile} and {other.card.tile}: export one of them anew."
            )
        threshold = one.card.threshold
        (tiles,) = draw_tiles(
            sources_or_rendered(sources), one.card.tile, (count,), SEED, lambda tile: _timed(one, tile)[0] > threshold,
            lambda done, total: tell("tiles", done, total),
        )  # fmt: skip
        agreement, sheet, times = Agreement(), TileSheet(), []
        for number, (name, tile) in enumerate(zip(tiles.names(), tiles, strict=True), 1):
            (mine, my_time), (theirs, their_time) = _timed(one, tile), _timed(other, tile)
            times.append((my_time, their_time))
            mean = agreement.add(mine, theirs, tile.label, (threshold, other.card.threshold))
            sheet.add(mean, name, tile.before, tile.after, mine, theirs)
            tell("compare", number, len(tiles))
        timed = times[WARM:] or times
        result = Comparison(
            (str(one.model), str(other.model)), (one.device, other.device), (one.card.precision, other.card.precision),
            agreement, (_milliseconds([pair[0] for pair in timed]), _milliseconds([pair[1] for pair in timed])),
            round(statistics.median(theirs / mine for mine, theirs in timed), 3), tiles.names(),
            (account(one), account(other)),
        )  # fmt: skip
    if worst is not None:
        with replacing(Path(worst), ProductError) as temporary:
            sheet.write(temporary, (one.model.stem, other.model.stem))
    if json_file is not None:
        with replacing(Path(json_file), ProductError) as temporary:
            temporary.write_text(json.dumps(result.as_dict(), indent=2) + "\n")
    return result


def _opened(
    model: str | PathLike[str], device: str, cuda: Binding | None, progress: Callable[[str, int, int], None] | None
) -> Session:
    path = model_path(model)
    return open_session(path, "cuda" if path.suffix == SUFFIX else device, binding=cuda, progress=progress)


def _milliseconds(seconds: Sequence[float]) -> float:
    return round(1000 * statistics.median(seconds), 2)


def _timed(session: Session, tile: WholeTile) -> tuple[NDArray[np.float32], float]:
    """Probability (T, T), and seconds."""
    began = time.perf_counter()
    probability = session.run(tile.before[None], tile.after[None])[0, 0]
    return probability, time.perf_counter() - began
