"""TensorRT and TensorRT-RTX as engines: `cuda` finds or builds a plan for a model, a plan by name runs as it is."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from schanger_edge.errors import SessionError
from schanger_edge.model.file import ModelFile
from schanger_edge.model.plan import FLAVOURS, SUFFIX, Batches, PlanCard, read_plan_card
from schanger_edge.sessions import gpu
from schanger_edge.sessions.engine import Auto, Engine, Extra, Findings, OwnFiles, SessionOptions, is_installed
from schanger_edge.sessions.tensorrt.build import MEGABYTE, build, find_built
from schanger_edge.sessions.tensorrt.builder import ScratchError, check_capability
from schanger_edge.sessions.tensorrt.cuda import OutOfDeviceMemoryError, open_cuda
from schanger_edge.sessions.tensorrt.flavour import INSTALL, MODULES, error_log, load_flavour, start
from schanger_edge.sessions.tensorrt.options import BuildOptions
from schanger_edge.sessions.tensorrt.plans import target_on
from schanger_edge.sessions.tensorrt.session import PlanError, TensorRTSession

CAREFUL = BuildOptions(Batches(1, 1, 1), level=3)
"""For boards on which builder, engine and everything else share a few gigabytes."""


def _open_plan(plan: Path, options: SessionOptions) -> TensorRTSession:
    trt = load_flavour(read_plan_card(plan).target.flavour)
    return TensorRTSession(plan, trt, open_cuda(options.binding), options.slots)


def _open(model: ModelFile, options: SessionOptions) -> TensorRTSession:
    """The model's plan from the cache, built where there is none, for smaller batches where there is no room."""
    trt, notes = load_flavour(), list[str]()
    here = gpu.find_gpu(options.binding)
    how = dataclasses.replace(CAREFUL if here.integrated else BuildOptions(), flavour=trt.name)
    built, rebuild = find_built(model, trt, target_on(trt, here)), False
    while True:
        began = time.perf_counter()
        try:
            built = built or build(
                model, None, how, binding=options.binding, rebuild=rebuild, progress=options.progress
            )
        except ScratchError as error:
            batches = how.batches or Batches.for_tile(model.card.tile)
            if not (most := batches.most // 2):
                raise
            notes.append(
                f"there is too little memory to build for batches of {batches.most} ({error.reason}): a plan for "
                f"batches of at most {most} is built instead."
            )
            how = dataclasses.replace(how, batches=Batches(1, min(batches.best, most), most))
            continue
        took = "" if built.cached else f" in {time.perf_counter() - began:.0f} s, once for this GPU"
        notes.append(f"{'found' if built.cached else 'built'} {built.plan}{took}: {built.explanation}")
        try:
            session = TensorRTSession(built.plan, trt, open_cuda(options.binding), options.slots)
        except OutOfDeviceMemoryError as error:
            most = built.card.batches.most // 2
            if not most:
                raise
            notes.append(f"{error} A plan for batches of at most {most} is used instead.")
            how, built = _as_built(built.card, Batches(1, min(built.card.batches.best, most), most)), None
            continue
        except PlanError as error:
            if not built.cached:
                raise
            notes.append(f"{error} It is rebuilt.")
            how, built, rebuild = _as_built(built.card, built.card.batches), None, True
            continue
        session.notes[:0] = notes
        return session


def _as_built(card: PlanCard, batches: Batches) -> BuildOptions:
    """The options of an earlier plan, for these batches."""
    workspace = card.workspace and card.workspace // MEGABYTE
    return BuildOptions(batches, workspace, card.level, flavour=card.target.flavour)


def _usable() -> str:
    trt, device = load_flavour(), gpu.find_gpu()
    check_capability(trt, device.capability)
    start(trt, "Runtime", error_log(trt.module))
    return f"{trt.words} on {device.name}"


def _findings() -> Findings:
    """Versions; of what is installed and does not work, why. What is not installed is said with its extra."""
    facts, missing = dict[str, str](), dict[str, str]()
    for name, module in MODULES.items():
        trt = None
        try:
            trt = load_flavour(name)
            facts[FLAVOURS[name]] = trt.version
            if gpu.driver_present():
                start(trt, "Runtime", error_log(trt.module))
        except SessionError as error:
            if trt or is_installed(module):
                missing[FLAVOURS[name]] = str(error)
    return Findings(facts, missing)


ENGINE = Engine(
    "TensorRT",
    {"cuda": _open},
    help="cuda (TensorRT)",
    auto=Auto.ON_GPU,
    usable=_usable,
    findings=_findings,
    extras={
        "tensorrt": Extra(("tensorrt", "cuda.bindings or pycuda"), INSTALL["tensorrt"]),
        "rtx": Extra(("tensorrt_rtx",), INSTALL["rtx"], for_jetson=False),
    },
    own_files=OwnFiles(SUFFIX, "TensorRT plan", _open_plan),
)
