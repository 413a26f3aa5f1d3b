"""OpenVINO on the CPU: reads the model file itself and runs beside ONNX Runtime, which stays the reference.

The package is `openvino`, not ONNX Runtime's plug-in for it (`onnxruntime-ep-openvino`): the plug-in has the same
library inside, but offers no device on processors that are not Intel's.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ModelError, SessionError
from schanger_edge.model.card import INPUT_NAMES
from schanger_edge.model.file import ModelFile
from schanger_edge.sessions.engine import Auto, Engine, Extra, Findings, is_installed
from schanger_edge.sessions.ort import available_cores, cpu_words
from schanger_edge.sessions.session import Session, check_probability

CPU = "CPU"
INSTALL = "pip install 'schanger-edge[openvino]'"

Precision = Literal["f32", "bf16"]


class OpenVinoSession(Session):
    """See `sessions.Session`; the model is compiled by `prepare`, or when it first runs.

    Without a number of threads it takes all cores this process may use. The precision is of the arithmetic: `bf16`
    rounds every product's factors to 8 bits of mantissa. SessionError where OpenVINO is not installed, does not load,
    or this CPU lacks the precision.
    """

    def __init__(self, model: ModelFile, threads: int | None = None, precision: Precision = "f32") -> None:
        openvino = load_openvino()
        threads = threads or available_cores()
        self.model, self.card, self.model_sha256 = model.path, model.card, model.sha256
        self.notes, self.smaller_tile = list[str](), model.smaller_tile
        self._core = openvino.Core()
        if precision == "bf16" and not has_bf16(self._core):
            raise SessionError("this CPU has no bfloat16 (AVX-512 BF16 or AMX): use --device cpu:openvino.")
        # Threads are not tied to cores: reading and writing need them meanwhile.
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, "ENABLE_CPU_PINNING": False}
        self._options = {**hints, "INFERENCE_NUM_THREADS": threads}
        self.device = f"OpenVINO {version_of(openvino)} ({cpu_words(threads)}, {precision})"
        self._requests: dict[tuple[int, ...], Any] | None = {}

    def prepare(self) -> None:
        """Compile for one pair of tiles, which takes seconds; without this call the first run does.

        ModelError where OpenVINO cannot load the model.
        """
        self._request((1, 3, self.card.tile, self.card.tile))

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.check_tiles(before, after)
        try:
            results = self._request(before.shape).infer(dict(zip(INPUT_NAMES, (before, after), strict=True)))
        except RuntimeError as error:
            raise SessionError(f"OpenVINO failed on {self.model.name}: {_last_line(error)}") from error
        probability: NDArray[np.float32] = results[0]
        check_probability(probability, (before.shape[0], 1, *before.shape[2:]))
        return probability

    def _request(self, shape: tuple[int, ...]) -> Any:
        """What runs batches of this shape; fixed ones are faster than those left open."""
        if self._requests is None:
            raise SessionError("the session is closed.")
        if shape not in self._requests:
            try:
                network = self._core.read_model(self.model)
                network.reshape({name: list(shape) for name in INPUT_NAMES})
                compiled = self._core.compile_model(network, CPU, self._options)
            except RuntimeError as error:
                raise ModelError(f"OpenVINO cannot load {self.model}: {_last_line(error)}") from error
            self._requests[shape] = compiled.create_infer_request()
        return self._requests[shape]

    def close(self) -> None:
        self._requests = None


def load_openvino() -> Any:
    """The package; SessionError where it is not installed or does not load."""
    try:
        return importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise SessionError(f"OpenVINO is not installed: {INSTALL}.") from error
    except (ImportError, OSError) as error:  # a library of it is missing
        raise SessionError(f"OpenVINO does not load ({_last_line(error)}): reinstall it with {INSTALL}.") from error


def version_of(openvino: Any) -> str:
    """`2026.4.1`, without the build."""
    return str(openvino.__version__).split("-", 1)[0]


def has_bf16(core: Any) -> bool:
    """Whether the CPU computes with bfloat16."""
    return "BF16" in core.get_property(CPU, "OPTIMIZATION_CAPABILITIES")


def _last_line(error: Exception) -> str:
    """The last that says something; OpenVINO begins with places in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


# The register's entry.


def _findings() -> Findings:
    """Version, and whether it can use bfloat16 here; of what is installed and does not work, why."""
    if not is_installed("openvino"):
        return Findings()
    try:
        openvino = load_openvino()
        bf16 = has_bf16(openvino.Core())
    except (SessionError, RuntimeError) as error:
        return Findings(missing={"OpenVINO": str(error)})
    words = "FP32 and bfloat16" if bf16 else "FP32; this CPU has no bfloat16"
    return Findings({"OpenVINO": f"{version_of(openvino)} ({words})"})


ENGINE = Engine(
    "OpenVINO",
    {
        "cpu:openvino": lambda model, options: OpenVinoSession(model, options.threads),
        "cpu:openvino:bf16": lambda model, options: OpenVinoSession(model, options.threads, "bf16"),
    },
    help="cpu:openvino[:bf16]",
    auto=Auto.IF_FASTER,
    installed=functools.partial(is_installed, "openvino"),
    findings=_findings,
    extras={"openvino": Extra(("openvino",))},
)
