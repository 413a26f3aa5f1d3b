"""Whether an engine shall run a model on this CPU: as exact as ONNX Runtime and faster, tried once and remembered.

Which is faster depends on the processor and the network, so `--device auto` measures: a few runs of each on one made-up
pair of tiles. The verdict is kept in the engine cache under all it depends on; finding it takes seconds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SessionError
from schanger_edge.files import cache_folder, replacing
from schanger_edge.host import board
from schanger_edge.sessions.session import Session

PARITY = 1e-3
WORTH = 0.9  # of the reference's time; nearer to it, the choice would hang on chance
RUNS = 3


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a trial found.

    Attributes:
        difference: largest absolute difference in probability to the reference, 0-1.
        ratio: the candidate's time as a share of the reference's, each the shortest of interleaved runs of one pair.
    """

    difference: float
    ratio: float

    @property
    def taken(self) -> bool:
        """Exact enough and worth it."""
        return self.difference <= PARITY and self.ratio <= WORTH  # false for NaN

    def words(self, candidate: str, reference: str) -> str:
        """Such as `OpenVINO takes 0.60 of ONNX Runtime's time here and differs by up to 2e-06 in probability`."""
        return (
            f"{candidate} takes {self.ratio:.2f} of {reference}'s time here and differs by up to {self.difference:.1g} "
            "in probability"
        )


def verdict(reference: Session, candidate: Session, name: str) -> Verdict:
    """The verdict on two open sessions of one model, remembered or found now.

    The reference's probabilities are right; the candidate, an engine of that name, might take its place.
    """
    place = _place(reference, candidate, name)
    remembered = _read(place) if place else None
    if remembered:
        return remembered
    found = _compare(reference, candidate)
    if place:
        with contextlib.suppress(OSError, SessionError):  # a cache that cannot be written costs the next run seconds
            place.parent.mkdir(parents=True, exist_ok=True)
            with replacing(place, SessionError) as temporary:
                temporary.write_text(json.dumps(dataclasses.asdict(found)))
    return found


def _place(reference: Session, candidate: Session, name: str) -> Path | None:
    """Where the verdict lies; the devices' words hold versions, threads and precision, an identity the build."""
    devices = (reference.device, candidate.device, str(candidate.identity()))
    facts = (reference.model_sha256, *devices, board.processor(Path("/")))
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    try:
        return cache_folder("engine", SessionError) / f"{name.lower()}-{digest[:16]}.json"
    except SessionError:  # this user has no home folder
        return None


def _read(place: Path) -> Verdict | None:
    try:
        values = json.loads(place.read_text())
        return Verdict(float(values["difference"]), float(values["ratio"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _compare(reference: Session, candidate: Session) -> Verdict:
    tiles = harsh_tiles(reference.least_tile)
    wanted, got = reference.run(*tiles), candidate.run(*tiles)  # the first run of each warms it
    seconds = [(_seconds(reference, tiles), _seconds(candidate, tiles)) for _ in range(RUNS)]
    first, second = (min(times) for times in zip(*seconds, strict=True))  # what else runs here only makes them longer
    return Verdict(float(np.abs(wanted - got).max()), second / first)


def _seconds(session: Session, tiles: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> float:
    began = time.perf_counter()
    session.run(*tiles)
    return time.perf_counter() - began


def harsh_tiles(tile: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A pair of tiles with patches and edges, some of which change, in harsh colours; the same on every machine."""
    rng = np.random.default_rng(36)
    patches = rng.integers(0, 256, (2, 1, 3, -(-tile // 16), -(-tile // 16)), np.uint8)
    patches[1][:, :, ::2] = patches[0][:, :, ::2]
    before, after = patches.repeat(16, -1).repeat(16, -2)[..., :tile, :tile]
    return np.ascontiguousarray(before), np.ascontiguousarray(after)
