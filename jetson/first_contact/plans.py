"""Steps that make models and build plans: seconds, size, scratch memory, and types as the inspector tells them."""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from contact import MEGABYTE, Result, SkipStep, bare_run, engine_of, model_of, only, plan_path, tiles

from schanger_edge.errors import SchangerError
from schanger_edge.files import replacing
from schanger_edge.model.bundled import model_path, names
from schanger_edge.model.file import read_model
from schanger_edge.model.plan import Batches
from schanger_edge.sessions import open_session
from schanger_edge.sessions.tensorrt.build import build, choose_source
from schanger_edge.sessions.tensorrt.builder import Recipe, build_plan
from schanger_edge.sessions.tensorrt.flavour import Flavour, load_flavour
from schanger_edge.sessions.tensorrt.options import BuildOptions

ONE = Batches(1, 1, 1)
EIGHT = Batches(1, 4, 8)
TOO_LITTLE = 16  # megabytes of scratch memory, below what any engine of this network takes
BASE = "levir-cd:base"


def models(folder: Path) -> Result:
    """FP32, FP16 and INT8 of the small network, and base where it can be had."""
    target = folder / "models"
    target.mkdir(exist_ok=True)
    found: Result = {}
    for name, make in {"fp32": _fp32, "fp16": _fp16, "int8": _int8, "base": _base}.items():
        path = target / f"{name}.onnx"
        try:
            make(path)
        except (SchangerError, ImportError) as error:
            found[name] = f"not there: {error}"
        else:
            model = read_model(path)
            found[name] = {"sha256": model.sha256, "precision": model.card.precision, "tile": model.card.tile}
    return found


def _fp32(path: Path) -> None:
    shutil.copy(model_path(None), path)


def _fp16(path: Path) -> None:
    bundled = next((name for name in names() if read_model(model_path(name)).card.precision == "fp16"), None)
    if bundled is not None:
        shutil.copy(model_path(bundled), path)
        return
    from schanger_export.convert import convert

    convert(path.with_name("fp32.onnx"), path)


def _int8(path: Path) -> None:
    shutil.copy(model_path("schanger-small-int8"), path)


def _base(path: Path) -> None:
    shutil.copy(model_path(BASE), path)


def builds(name: str, batches: Batches, workspace: int | None = None) -> Callable[[Path], Result]:
    """A step that builds the plan of a model; with a limit of scratch memory it may fail, and says how."""

    def step(folder: Path) -> Result:
        model = model_of(folder, name)
        plan = plan_path(folder, name, batches)
        if workspace is not None:
            plan = plan.with_name(f"limited-{plan.name}")
        plan.parent.mkdir(exist_ok=True)
        begin = time.perf_counter()
        try:
            built = build(model, plan, BuildOptions(batches, workspace=workspace), rebuild=True)
        except SchangerError as error:
            if workspace is None:
                raise
            return {"workspace": workspace, "refused": str(error)}
        seconds = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // MEGABYTE
        return {
            "seconds": round(seconds, 1), "megabytes": round(plan.stat().st_size / MEGABYTE, 1),
            "peak_memory_megabytes": peak, "scratch_megabytes": _scratch(plan), "explanation": built.explanation,
            "typing": built.card.typing, "flags": built.card.flags, "tf32": built.card.in_tf32,
        }  # fmt: skip

    return step


def _scratch(plan: Path) -> float | None:
    flavour = load_flavour()
    engine = engine_of(flavour, plan.read_bytes())
    for name in ("device_memory_size_v2", "device_memory_size"):
        if hasattr(engine, name):
            return round(float(getattr(engine, name)) / MEGABYTE, 1)
    return None


class Weak(Flavour):
    """The same TensorRT, asked for weak types."""

    strong = False


def typing(folder: Path) -> Result:
    """FP16 once with weak and once with strong types: layers by type, and the difference to FP32."""
    flavour = only("tensorrt")
    if not hasattr(flavour.module.BuilderFlag, "FP16"):
        raise SkipStep(f"{flavour.words} has no weak types.")
    if not hasattr(flavour.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        raise SkipStep(f"{flavour.words} has no strong types.")
    model = read_model(model_of(folder, "fp16"))
    pair = tiles(model.card.tile, 1)
    with open_session(model_of(folder, "fp32")) as reference:
        wanted = reference.run(*pair)
    found: Result = {}
    for kind in (Flavour, Weak):
        asked = kind(flavour.name, flavour.module, flavour.version)
        choice = choose_source(model, asked)
        recipe = Recipe(choice.source, model.card.tile, ONE, choice.flags, keep_fp32=choice.keep_fp32, detailed=True)
        content, _ = build_plan(asked, recipe)
        difference = float(np.abs(bare_run(flavour, content, pair) - wanted).max())
        name = "strong" if asked.strong else "weak"
        layers = _layers(flavour, content, folder / f"layers-{name}.json")
        found[name] = {"largest_difference": difference, "layers": layers}
    return found


def _layers(flavour: Flavour, content: bytes, report: Path) -> dict[str, int]:
    """How many layers put out each type; the inspector's own words go to a file."""
    engine = engine_of(flavour, content)
    text = engine.create_engine_inspector().get_engine_information(flavour.module.LayerInformationFormat.JSON)
    with replacing(report, SchangerError) as temporary:
        temporary.write_text(text, encoding="utf-8")
    counted: Counter[str] = Counter()
    for layer in json.loads(text)["Layers"]:
        outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
        counted[outputs[0].get("Format/Datatype", "unknown") if outputs else "unknown"] += 1
    return dict(counted)
