"""ONNX Runtime on the CPU: the embedded default and the reference for parity."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from schanger_edge.errors import ModelError, SessionError
from schanger_edge.model.card import INPUT_NAMES, METADATA_KEY, OUTPUT_NAME, ModelCard
from schanger_edge.sessions import OneAtATime, check_probability

ERRORS_ONLY = 3
GPU_BATCH = 4
CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntimeSession(OneAtATime):
    """See `sessions.Session`."""

    max_batch = None
    typing: str | None = None
    flags: tuple[str, ...] = ()
    plan_sha256: str | None = None
    timings: Sequence[tuple[str, float]] = ()
    chosen = ""

    def __init__(self, model: Path, threads: int | None = None, provider: str = CPU_PROVIDER) -> None:
        threads = threads or available_cores()
        self.model, self.notes, self.slots = model, list[str](), 1
        self.best_batch = 1 if provider == CPU_PROVIDER else GPU_BATCH  # on a CPU more at once cost more per tile
        self.model_sha256, self._session = _load(model, threads, provider=provider)
        self.card = _checked_card(self._session, model)
        where = cpu_words(threads) if provider == CPU_PROVIDER else "CUDA"
        self.device = f"ONNX Runtime {onnxruntime.__version__} ({where})"
        if provider not in self._session.get_providers():
            raise SessionError(
                f"ONNX Runtime's {provider} does not start, its CUDA or cuDNN is missing or of another version: see "
                "https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html."
            )

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._session is None:
            raise SessionError("the session is closed.")
        inputs = dict(zip(INPUT_NAMES, (before, after), strict=True))
        try:
            (probability,) = self._session.run([OUTPUT_NAME], inputs)
        except Exception as error:  # ONNX Runtime's own exceptions share no public base
            raise SessionError(f"ONNX Runtime failed on {self.model.name}: {_first_line(error)}") from error
        check_probability(probability, (before.shape[0], 1, *before.shape[2:]))
        return probability  # type: ignore[no-any-return]

    def close(self) -> None:
        self._session = None


def cpu_words(threads: int) -> str:
    """Such as `CPU, 2 threads`."""
    return f"CPU, {threads} thread{'' if threads == 1 else 's'}"


def available_cores() -> int:
    """Cores this process may use (less than the machine's in a container or under taskset)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_card(model: Path) -> tuple[ModelCard, str]:
    """The card of a model file, and the file's hash.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
    """
    sha256, session = _load(model, 1, optimize=False)
    return _checked_card(session, model), sha256


def _load(model: Path, threads: int, optimize: bool = True, provider: str = CPU_PROVIDER) -> tuple[str, Any]:
    try:
        sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"model {model} cannot be read ({error.strerror}): give the path of an .onnx file.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ERRORS_ONLY
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Waiting threads sleep instead of spinning: reading and writing need the cores meanwhile.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider == CUDA_PROVIDER and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # CUDA and cuDNN as installed by pip
    providers = list(dict.fromkeys((provider, CPU_PROVIDER)))
    try:
        return sha256, onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # ONNX Runtime's own exceptions share no public base
        raise ModelError(f"{model} is no ONNX model that ONNX Runtime can load: {_first_line(error)}") from error


def _checked_card(session: Any, model: Path) -> ModelCard:
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if text is None:
        raise ModelError(f"{model} has no model card: make it with `schanger-edge export`.")
    card = ModelCard.from_json(text)
    tile = card.tile
    inputs = {i.name: (i.type, i.shape[1:]) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape[1:]) for o in session.get_outputs()}
    dynamic = all(not isinstance(i.shape[0], int) for i in session.get_inputs())
    wanted_inputs = {name: ("tensor(uint8)", [3, tile, tile]) for name in INPUT_NAMES}
    wanted_outputs = {OUTPUT_NAME: ("tensor(float)", [1, tile, tile])}
    if inputs != wanted_inputs or not dynamic:
        raise ModelError(
            f"{model} breaks the model contract: its inputs must be before and after, "
            f"uint8 (N, 3, {tile}, {tile}); it has {_describe(session.get_inputs())}. Export it again."
        )
    if outputs != wanted_outputs:
        raise ModelError(
            f"{model} breaks the model contract: its output must be probability, "
            f"float32 (N, 1, {tile}, {tile}); it has {_describe(session.get_outputs())}. Export it again."
        )
    return card


def _describe(tensors: Any) -> str:
    return ", ".join(f"{t.name} {t.type.removeprefix('tensor(').rstrip(')')} {tuple(t.shape)}" for t in tensors)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
