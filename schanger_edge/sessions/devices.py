"""Which engine a device's name stands for: `cpu`, `cpu:openvino`, `cuda` (TensorRT), `cuda:onnxruntime`, `auto`."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import NamedTuple

import onnxruntime

from schanger_edge.errors import SchangerError, SessionError
from schanger_edge.sessions import Session, gpu
from schanger_edge.sessions.gpu import NO_DRIVER, Binding, driver_present, find_gpu
from schanger_edge.sessions.ort import CUDA_PROVIDER, OnnxRuntimeSession
from schanger_edge.sessions.ov import OpenVinoSession
from schanger_edge.sessions.tensorrt.build import MEGABYTE, build, find_built
from schanger_edge.sessions.tensorrt.builder import Batches, Progress, check_capability
from schanger_edge.sessions.tensorrt.cuda import OutOfDeviceMemoryError, open_cuda
from schanger_edge.sessions.tensorrt.flavour import load_flavour
from schanger_edge.sessions.tensorrt.plans import SUFFIX, PlanCard, Target, read_plan_card
from schanger_edge.sessions.tensorrt.session import SLOTS, TensorRTSession
from schanger_edge.sessions.trial import verdict

AUTO, CPU, CUDA, CUDA_ONNXRUNTIME = "auto", "cpu", "cuda", "cuda:onnxruntime"
CPU_OPENVINO, CPU_OPENVINO_BF16 = "cpu:openvino", "cpu:openvino:bf16"
DEVICES = (AUTO, CPU, CPU_OPENVINO, CPU_OPENVINO_BF16, CUDA, CUDA_ONNXRUNTIME)


class Wish(NamedTuple):
    """How a session shall run; see `sessions.open_session`."""

    threads: int | None = None
    binding: Binding | None = None
    slots: int = SLOTS
    progress: Progress | None = None


def open_on(model: Path, device: str, wish: Wish) -> Session:
    """See `sessions.open_session`."""
    if device not in DEVICES:
        raise SessionError(f"device {device!r} is unknown: use {', '.join(DEVICES)}.")
    if model.suffix == SUFFIX:
        if device not in (AUTO, CUDA):
            raise SessionError(f"{model.name} is a TensorRT plan and runs with --device cuda only.")
        session, chosen = _tensorrt(model, wish), "a plan runs with TensorRT alone"
    elif device == AUTO:
        session, chosen = _automatic(model, wish)
    else:
        openers = {
            CPU: _onnxruntime, CPU_OPENVINO: _openvino, CPU_OPENVINO_BF16: _openvino_in_bf16,
            CUDA: _tensorrt, CUDA_ONNXRUNTIME: _onnxruntime_on_cuda,
        }  # fmt: skip
        session, chosen = openers[device](model, wish), f"device {device}, as asked"
    session.chosen = chosen
    return session


def _automatic(model: Path, wish: Wish) -> tuple[Session, str]:
    """TensorRT, else ONNX Runtime's CUDA provider, else the CPU; and why. A note says what is in the way of better."""
    reasons: list[str] = []
    if not driver_present():
        reasons.append(NO_DRIVER)
    else:
        for opened in (_tensorrt, _onnxruntime_on_cuda):
            try:
                session = opened(model, wish)
            except SchangerError as error:
                reasons.append(str(error))
                continue
            session.notes[:0] = reasons
            return session, f"auto: {' '.join(reasons) or 'the first choice is here'}"
    session, compared = _faster_on_cpu(model, wish)
    reasons += [f"{compared}."] if compared else []
    session.notes.append(f"on the CPU ({session.card.precision}): {' '.join(reasons)}")
    return session, f"auto: {' '.join(reasons)}"


def _faster_on_cpu(model: Path, wish: Wish) -> tuple[Session, str]:
    """OpenVINO where it is installed, exact enough and faster, else ONNX Runtime; and what the trial found."""
    reference = _onnxruntime(model, wish)
    if not openvino_installed():
        return reference, ""
    try:
        candidate = OpenVinoSession(model, wish.threads)  # not compiled yet: a remembered verdict needs no more
        found = verdict(reference, candidate)
        if found.taken:
            candidate.prepare()
    except SchangerError as error:
        return reference, str(error).removesuffix(".")
    taken, other = (candidate, reference) if found.taken else (reference, candidate)
    other.close()
    return taken, found.words


def openvino_installed() -> bool:
    """Whether the package is there; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


def usable_engine() -> str:
    """What `auto` would take, in words, without opening or building anything."""
    if not driver_present():
        return f"{_usable_on_cpu()}: {NO_DRIVER}"
    try:
        trt, device = load_flavour(), find_gpu()
        check_capability(trt, device.capability)
    except SessionError as error:
        if CUDA_PROVIDER in onnxruntime.get_available_providers():
            return f"ONNX Runtime on the GPU: {error}"
        return f"{_usable_on_cpu()}: {error} {_no_provider()}"
    return f"{trt.words} on {device.name}"


def _usable_on_cpu() -> str:
    either = "ONNX Runtime or OpenVINO" if openvino_installed() else "ONNX Runtime"
    return f"{either} on the CPU{', whichever a short trial finds faster' if openvino_installed() else ''}"


def _tensorrt(model: Path, wish: Wish) -> Session:
    """A plan by name; or a model's plan from the cache, built where there is none, for smaller batches if need be."""
    if model.suffix == SUFFIX:
        trt = load_flavour(read_plan_card(model).target.flavour)  # type: ignore[arg-type]
        return TensorRTSession(model, trt, open_cuda(wish.binding), wish.slots)
    trt, notes = load_flavour(), list[str]()
    here = gpu.find_gpu(wish.binding)
    how = _careful() if here.integrated else _How(Batches())
    built, rebuild = find_built(model, trt, Target.on(trt, here)), False
    while True:
        began = time.perf_counter()
        if built is None:
            built = build(
                model, flavour=trt.name, batches=how.batches, workspace=how.workspace, level=how.level,
                binding=wish.binding, rebuild=rebuild, progress=wish.progress,
            )  # fmt: skip
        took = "" if built.cached else f" in {time.perf_counter() - began:.0f} s, once for this GPU"
        notes.append(f"{'found' if built.cached else 'built'} {built.plan}{took}: {built.explanation}")
        try:
            session = TensorRTSession(built.plan, trt, open_cuda(wish.binding), wish.slots)
        except OutOfDeviceMemoryError as error:
            most = built.card.batches.most // 2
            if not most:
                raise
            notes.append(f"{error} A plan for batches of at most {most} is taken instead.")
            how, built = _as_built(built.card, Batches(1, min(how.batches.best, most), most)), None
            continue
        except SessionError as error:
            if not built.cached:
                raise
            notes.append(f"{error} It is built anew.")
            how, built, rebuild = _as_built(built.card, built.card.batches), None, True
            continue
        session.notes[:0] = notes
        return session


class _How(NamedTuple):
    """How a plan is built on first use."""

    batches: Batches
    workspace: int | None = None
    level: int | None = None


def _as_built(card: PlanCard, batches: Batches) -> _How:
    """The options of an earlier plan, for these batches."""
    return _How(batches, card.workspace and card.workspace // MEGABYTE, card.level)


def _careful() -> _How:
    """For boards on which builder, engine and everything else share a few gigabytes."""
    return _How(Batches(1, 1, 1), workspace=512, level=3)


def _onnxruntime(model: Path, wish: Wish) -> Session:
    return OnnxRuntimeSession(model, wish.threads)


def _openvino(model: Path, wish: Wish) -> Session:
    return _prepared(OpenVinoSession(model, wish.threads))


def _openvino_in_bf16(model: Path, wish: Wish) -> Session:
    return _prepared(OpenVinoSession(model, wish.threads, "bf16"))


def _prepared(session: OpenVinoSession) -> Session:
    session.prepare()
    return session


def _onnxruntime_on_cuda(model: Path, wish: Wish) -> Session:
    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise _no_provider()
    return OnnxRuntimeSession(model, wish.threads, CUDA_PROVIDER)


def _no_provider() -> SessionError:
    return SessionError(
        "ONNX Runtime has no CUDA provider here: pip uninstall onnxruntime, then pip install onnxruntime-gpu."
    )
