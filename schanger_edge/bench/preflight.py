"""Before anything long: every model is opened on every device, and how long it will all take is reckoned."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

from schanger_edge.bench.memory import RUNS
from schanger_edge.bench.method import BLOCK_SECONDS, ROUNDS, WINDOW
from schanger_edge.bench.request import Case, ImagePair, Labelled, Model
from schanger_edge.bench.speed import tiles_for
from schanger_edge.errors import SessionError
from schanger_edge.sessions import open_session

START_SECONDS = 3.0
"""Of a process with all libraries, roughly."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """What a model runs on.

    Attributes:
        words: engine, version and device.
        plan_sha256: of the plan it was built to; None for other engines.
        notes: what the session had to say.
        slots: batches that may be under way at once.
        tile_seconds: of one tile, once warm.
    """

    words: str
    plan_sha256: str | None
    notes: tuple[str, ...]
    slots: int
    tile_seconds: float


def open_once(
    device: str, model: Model, batches: Sequence[int], progress: Callable[[str, int, int], None] | None
) -> Engine:
    """Open a model, run a tile, close it.

    Raises:
        SchangerError: it does not open there, or takes no batch as large as the largest.
    """
    with open_session(model.path, device, progress=progress) as session:
        most = session.max_batch
        if most is not None and most < batches[-1]:
            fitting = ",".join(str(batch) for batch in batches if batch <= most) or str(most)
            raise SessionError(
                f"{model.name} takes at most {most} tiles at once on {device}, not {batches[-1]}: give --batch "
                f"{fitting}, or build it anew with `schanger-edge build --batch`."
            )
        tiles = tiles_for(session.card.tile, 1)
        session.run(*tiles)
        began = time.perf_counter()
        session.run(*tiles)
        took = time.perf_counter() - began
        return Engine(session.device, session.identity()["plan"], tuple(session.notes), session.slots, took)


def seconds_expected(
    engines: dict[tuple[str, str], Engine],
    cases: Sequence[Case],
    datasets: Sequence[Labelled],
    pair: ImagePair | None,
    calls: int,
    pair_runs: int,
) -> float:
    """About how long all of it takes; `calls` are the timed ones of a block."""
    total = 0.0
    for case in cases:
        engine = engines[case.device, case.model.name]
        once = case.batch * engine.tile_seconds
        turn = max(BLOCK_SECONDS, calls * once) * (2 if engine.slots > 1 else 1)
        total += START_SECONDS + RUNS * once + 2 * WINDOW * once + ROUNDS * (turn + once)
    for (_, name), engine in engines.items():
        model = next(case.model for case in cases if case.model.name == name)
        total += sum(dataset.pixels for dataset in datasets) / model.tile**2 * engine.tile_seconds
        if pair is not None:
            tiles = math.ceil(pair.width / model.core) * math.ceil(pair.height / model.core)
            total += (pair_runs + 1 / len(engines)) * (START_SECONDS + tiles * engine.tile_seconds)
    return total
