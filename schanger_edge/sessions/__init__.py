"""Engines behind one Protocol: uint8 tiles in, probability out. A new engine is a file and a line in `register`."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

from schanger_edge.model.file import ModelFile
from schanger_edge.sessions.gpu import Binding
from schanger_edge.sessions.session import Session, check_probability

__all__ = ["Session", "check_probability", "open_session"]


def open_session(
    model: str | PathLike[str] | ModelFile,
    device: str = "cpu",
    threads: int | None = None,
    *,
    binding: Binding | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Session:
    """Open a model on a device.

    Args:
        model: an .onnx file that keeps the contract of `model.card`, or a TensorRT plan with its sidecar.
        device: `cpu` (ONNX Runtime), `cpu:native` (the engine of our own) or `cpu:openvino`, each FP32 (with `:bf16`
            where the CPU has it), `cuda` (TensorRT or TensorRT-RTX; a plan is built into the user's cache first),
            `cuda:onnxruntime` (its CUDA provider), that of another engine in `register`, or `auto`: TensorRT, else that
            provider, else the CPU, by the fastest engine that a trial finds exact.
        threads: threads of a CPU engine; None takes all cores this process may use.
        binding: by whom CUDA is reached, `cuda-python` or `pycuda`; None takes what imports.
        progress: told (phase, done, total) while a plan is built.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
        SessionError: the device is unknown or its engine does not start.
    """
    from schanger_edge.sessions.devices import open_on
    from schanger_edge.sessions.engine import SessionOptions

    return open_on(model, device, SessionOptions(threads, binding, progress=progress))
