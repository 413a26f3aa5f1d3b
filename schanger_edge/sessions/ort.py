"""ONNX Runtime: on the CPU the embedded default and the reference for parity; on CUDA the fallback of TensorRT."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ModelError, SessionError
from schanger_edge.host import board
from schanger_edge.model.card import INPUT_NAMES, OUTPUT_NAME
from schanger_edge.model.file import ModelFile, Tensor, check_contract
from schanger_edge.model.plan import Batches
from schanger_edge.sessions.engine import Auto, Engine, Findings, SessionOptions
from schanger_edge.sessions.session import Session, check_probability

ERRORS_ONLY = 3
X86_64 = ("x86_64", "amd64")
CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"
_PLACES = r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .* failed:|/\S*onnxruntime/\S+:\d+ .*?\) (?=\S)"


class OnnxRuntimeSession(Session):
    """See `sessions.Session`; runs on ONNX Runtime's provider of that name.

    Without a number of threads it takes all cores this process may use. ModelError where ONNX Runtime cannot load the
    model, SessionError where the provider does not start.
    """

    def __init__(self, model: ModelFile, threads: int | None = None, provider: str = CPU_PROVIDER) -> None:
        import onnxruntime

        threads = threads or available_cores()
        self.model, self.card, self.model_sha256 = model.path, model.card, model.sha256
        self.notes, self.smaller_tile = list[str](), model.smaller_tile
        # On a CPU more at once cost more per tile.
        self.best_batch = 1 if provider == CPU_PROVIDER else Batches.for_tile(model.card.tile).best
        self._session = _load(model, threads, provider)
        inputs, outputs = _tensors(self._session.get_inputs()), _tensors(self._session.get_outputs())
        check_contract(model.path, model.card, inputs, outputs)
        where = cpu_words(threads) if provider == CPU_PROVIDER else "CUDA"
        self.device = f"ONNX Runtime {onnxruntime.__version__} ({where})"
        if provider not in self._session.get_providers():
            raise SessionError(
                f"ONNX Runtime's {provider} does not start: its CUDA or cuDNN is missing or has the wrong version. "
                "See https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html."
            )

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._session is None:
            raise SessionError("the session is closed.")
        self.check_tiles(before, after)
        inputs = dict(zip(INPUT_NAMES, (before, after), strict=True))
        try:
            (probability,) = self._session.run([OUTPUT_NAME], inputs)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise SessionError(f"ONNX Runtime failed on {self.model.name}: {_first_line(error)}") from error
        check_probability(probability, (before.shape[0], 1, *before.shape[2:]))
        return probability  # type: ignore[no-any-return]

    def close(self) -> None:
        self._session = None


def _load(model: ModelFile, threads: int, provider: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    # Waiting threads sleep instead of spinning: reading and writing need the cores meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider == CUDA_PROVIDER and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN as installed by pip
    providers: list[Any] = [CPU_PROVIDER]
    if provider == CUDA_PROVIDER:  # by default cuDNN tries all its algorithms anew for every batch size
        providers = [(CUDA_PROVIDER, {"cudnn_conv_algo_search": "HEURISTIC"}), CPU_PROVIDER]
    try:
        return onnxruntime.InferenceSession(str(model.path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own exceptions share no public base
        raise ModelError(
            f"{model.path} is not an ONNX model that ONNX Runtime {onnxruntime.__version__} can load "
            f"({_first_line(error)}): export it again, or update onnxruntime."
        ) from error


def _tensors(found: Sequence[Any]) -> list[Tensor]:
    """Inputs or outputs with the sizes that ONNX Runtime infers where the file leaves them open."""
    return [Tensor(one.name, one.type.removeprefix("tensor(").rstrip(")"), tuple(one.shape)) for one in found]


def _first_line(error: Exception) -> str:
    """What happened, without the place in ONNX Runtime's source that stands before it."""
    lines = re.sub(_PLACES, "", str(error)).strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else type(error).__name__


def cpu_words(threads: int) -> str:
    """Such as `CPU, 2 threads`."""
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"


def available_cores() -> int:
    """Cores this process may use (less than the machine's in a container or under taskset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# The register's entries.


def _open_on_cuda(model: ModelFile, options: SessionOptions) -> Session:
    _usable_on_cuda()
    return OnnxRuntimeSession(model, options.threads, CUDA_PROVIDER)


def _usable_on_cuda() -> str:
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise SessionError(f"ONNX Runtime has no CUDA provider here: {_way_to_cuda()}.")
    return "ONNX Runtime on the GPU"


def _way_to_cuda() -> str:
    """What gets this machine a GPU engine; onnxruntime is only given up where pip has another in its place."""
    if board.is_jetson():
        return "on Jetson use TensorRT, which comes with JetPack (python3-libnvinfer from apt)"
    if platform.machine().lower() in X86_64 and platform.system() in ("Linux", "Windows"):
        return "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
    return "use TensorRT (--device cuda)"


def _findings() -> Findings:
    import onnxruntime

    providers = ", ".join(onnxruntime.get_available_providers())
    return Findings({"ONNX Runtime": f"{onnxruntime.__version__} ({providers})"})


CPU = Engine(
    "ONNX Runtime",
    {"cpu": lambda model, options: OnnxRuntimeSession(model, options.threads)},
    auto=Auto.REFERENCE,
    findings=_findings,
)
CUDA = Engine("ONNX Runtime", {"cuda:onnxruntime": _open_on_cuda}, auto=Auto.ON_GPU, usable=_usable_on_cuda)
