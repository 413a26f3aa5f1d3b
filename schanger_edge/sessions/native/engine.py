"""The native engine: SChanger's own kernels, which know this one network; same bytes for any threads and any batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from schanger_edge._version import __version__
from schanger_edge.errors import SessionError
from schanger_edge.model.file import ModelFile
from schanger_edge.sessions.engine import Auto, Engine, Findings, SessionOptions
from schanger_edge.sessions.native.library import Kernels, Network, kernels, library_path
from schanger_edge.sessions.native.weights import read_weights
from schanger_edge.sessions.ort import available_cores, cpu_words
from schanger_edge.sessions.session import Session, check_probability

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARITY = 1e-4
FP32, BF16 = "fp32", "bf16"


class NativeSession(Session):
    """See `sessions.Session`.

    Args:
        model: to run.
        threads: None takes all cores this process may use.
        precision: of the products; `bf16` rounds their factors to 8 bits of mantissa.
        isa: instruction set, such as `avx2`; None takes the best that this processor has.

    Raises:
        OtherGraphError: the model holds another graph than the one the library computes.
        ModelError: a weight is no finite number.
        SessionError: the library is not there, or this processor lacks precision or instruction set.
    """

    def __init__(
        self, model: ModelFile, threads: int | None = None, precision: str = FP32, isa: str | None = None
    ) -> None:
        found = [one for one in kernels() if one.precision == precision and isa in (None, one.isa)]
        if not found:
            raise SessionError(_lacking(precision, isa))
        threads = threads or available_cores()
        self.model, self.card, self.model_sha256 = model.path, model.card, model.sha256
        self.notes = list[str]()
        self.kernels: Kernels = found[0]
        self.device = f"native {__version__} ({cpu_words(threads)}, {', '.join(self.kernels)})"
        weights = read_weights(model)
        self._network = Network(self.kernels, weights.widths, model.card.tile, threads, weights.values)

    def describe(self) -> dict[str, Any]:
        return {"isa": self.kernels.isa, "products": self.kernels.precision}

    def identity(self) -> dict[str, Any]:
        """Without the threads: sums are made in the same order by any number of them."""
        return {**super().identity(), "device": f"native {__version__} ({', '.join(self.kernels)})"}

    @property
    def memory(self) -> int:
        """Bytes that weights, maps and scratch take."""
        return self._network.memory

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        tile = self.card.tile
        for date in (before, after):
            if date.shape != (len(before), 3, tile, tile) or date.dtype != np.uint8:
                raise SessionError(
                    f"the native engine failed on {self.model.name}: it takes tiles (N, 3, {tile}, {tile}) uint8 of "
                    f"both dates, not {date.shape} {date.dtype}."
                )
        probability = np.empty((len(before), 1, tile, tile), np.float32)
        self._network.run(np.ascontiguousarray(before), np.ascontiguousarray(after), probability)
        check_probability(probability, probability.shape)
        return probability

    def close(self) -> None:
        self._network.close()


def _lacking(precision: str, isa: str | None) -> str:
    if precision == BF16 and isa is None:
        return "this CPU has no bfloat16 (AVX-512 BF16): use --device cpu:native."
    return f"this CPU does not run the native engine's kernels for {isa} in {precision}."


# The register's entry.


def _in_fp32(model: ModelFile, options: SessionOptions) -> NativeSession:
    return NativeSession(model, options.threads)


def _in_bf16(model: ModelFile, options: SessionOptions) -> NativeSession:
    return NativeSession(model, options.threads, BF16)


def _installed() -> bool:
    return library_path() is not None


def _findings() -> Findings:
    """The kernels this processor runs; of a library that is not there or does not load, why."""
    try:
        found = kernels()
    except SessionError as error:
        return Findings(missing={"native engine": str(error)})
    return Findings({"native engine": ", ".join(" ".join(one) for one in found)})


ENGINE = Engine(
    "the native engine",
    {"cpu:native": _in_fp32, "cpu:native:bf16": _in_bf16},
    help="cpu:native[:bf16]",
    auto=Auto.IF_FASTER,
    parity=PARITY,
    installed=_installed,
    findings=_findings,
)
