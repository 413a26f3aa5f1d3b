"""Steps that make models and build plans: seconds, size, scratch memory, and types as the inspector tells them."""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contact import MEGABYTE, Result, SkipStep, bare_run, engine_of, model_of, only, plan_path, tiles

from schanger_edge.errors import SchangerError
from schanger_edge.files import replacing
from schanger_edge.model.bundled import model_path, names
from schanger_edge.model.card import INPUT_NAMES, PUBLISHED_TILE
from schanger_edge.model.file import ModelFile, read_model
from schanger_edge.model.graph import read_named_nodes
from schanger_edge.model.plan import Batches
from schanger_edge.sessions import open_session
from schanger_edge.sessions.tensorrt.build import build, choose_source
from schanger_edge.sessions.tensorrt.builder import Recipe, build_plan
from schanger_edge.sessions.tensorrt.cuda import open_cuda
from schanger_edge.sessions.tensorrt.flavour import Flavour, load_flavour
from schanger_edge.sessions.tensorrt.options import BuildOptions

ONE = Batches(1, 1, 1)
EIGHT = Batches(1, 4, 8)
TOO_LITTLE = 16  # megabytes of scratch memory, below what any engine of this network takes
BASE = "levir-cd:base"
CHAIN = "int8-chain"
MADE_UP = "made up, the same for every tensor: fit for times and layers, never for a map"
INT8 = re.compile(r"(?<!u)int8", re.IGNORECASE)


def models(folder: Path) -> Result:
    """FP32, FP16, INT8 and INT8 in the whole chain of the small network, and base where it can be had."""
    target = folder / "models"
    target.mkdir(exist_ok=True)
    found: Result = {}
    for name, make in {"fp32": _fp32, "fp16": _fp16, "int8": _int8, CHAIN: _int8_chain, "base": _base}.items():
        path = target / f"{name}.onnx"
        try:
            make(path)
        except ImportError as error:
            found[name] = f"not there: {error}: pip install 'schanger-edge[quantize]'"
        except SchangerError as error:
            found[name] = f"not there: {error}"
        else:
            model = read_model(path)
            found[name] = {
                "sha256": model.sha256, "precision": model.card.precision, "tile": model.card.tile,
                "scales": model.card.calibration.get("method"),
            }  # fmt: skip
    return found


def _bundled(name: str | None, path: Path) -> None:
    """With tiles of 256, so that 8 pairs find room on any board."""
    import onnx

    from schanger_export.graph import write_card

    model = onnx.load(str(model_path(name)))
    write_card(model, dataclasses.replace(read_model(model_path(name)).card, tile=PUBLISHED_TILE))
    onnx.save_model(model, str(path))


def _fp32(path: Path) -> None:
    _bundled(None, path)


def _fp16(path: Path) -> None:
    bundled = next((name for name in names() if read_model(model_path(name)).card.precision == "fp16"), None)
    if bundled is not None:
        _bundled(bundled, path)
        return
    from schanger_export.convert import convert

    convert(path.with_name("fp32.onnx"), path)


def _int8(path: Path) -> None:
    _bundled("schanger-small-int8", path)


def _int8_chain(path: Path) -> None:
    """As strong types take it, FP16 elsewhere; beside it the plain INT8 model that weak types take, with FP32."""
    import onnx
    from stored import ANY_RANGE, stored, whole_chain

    from schanger_export.calibrate import OPSET_FP16
    from schanger_export.cards import converted_card
    from schanger_export.fp16 import to_fp16
    from schanger_export.graph import read_model as read_graph
    from schanger_export.graph import write_card

    parent, card, sha256 = read_graph(path.with_name("fp32.onnx"))
    newer = onnx.version_converter.convert_version(parent, OPSET_FP16)
    plain, with_fp16 = (stored(graph, whole_chain(graph), defaultdict(lambda: ANY_RANGE)) for graph in (parent, newer))
    converted = to_fp16(with_fp16, {}, resize=True)
    for target, precision, model, kept in (
        (path.with_name(f"{path.stem}-plain.onnx"), "int8", plain, ()),
        (path, "int8+fp16", converted.model, converted.kept),
    ):
        write_card(model, converted_card(card, precision, sha256, {"method": MADE_UP}, kept))
        onnx.save_model(model, str(target))


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
        content = _detailed_plan(asked, model)
        difference = float(np.abs(bare_run(flavour, content, pair) - wanted).max())
        name = "strong" if asked.strong else "weak"
        layers = _layers(flavour, content, model.card.tile, folder / f"layers-{name}.json")
        counted = Counter(_types(layer, "Outputs")[0] for layer in layers)
        found[name] = {"largest_difference": difference, "layers": counted}
    return found


def handed_on(folder: Path) -> Result:
    """What TensorRT's INT8 convolutions hand on where the whole chain may be INT8: decision 035 rests on it."""
    flavour = only("tensorrt")
    model = read_model(model_of(folder, CHAIN))
    convs = {name for name, node in read_named_nodes(model.path).items() if node.kind == "Conv"}
    report = folder / f"layers-{CHAIN}.json"
    seen, types = set[str](), Counter[str]()
    for layer in _layers(flavour, _detailed_plan(flavour, model), model.card.tile, report):
        computed = convs & set(re.findall(r"[\w.]+", f"{layer.get('Name')} {layer.get('Metadata')}"))
        if computed and layer.get("LayerType") != "Reformat":
            seen |= computed
            types.update(_types(layer, "Outputs")[:1] if any(map(INT8.search, _types(layer, "Inputs"))) else [])
    return {
        "scales": MADE_UP, "convolutions": len(convs), "found_in_layers": len(seen),
        "int8_convolutions": types.total(),
        "of_these_hand_on_int8": sum(count for kind, count in types.items() if INT8.search(kind)),
        "hand_on": types,
    }  # fmt: skip


def _detailed_plan(flavour: Flavour, model: ModelFile) -> bytes:
    """For one pair, with what the inspector tells of layers."""
    choice = choose_source(model, flavour)
    recipe = Recipe(choice.source, model.card.tile, ONE, choice.flags, keep_fp32=choice.keep_fp32, detailed=True)
    return build_plan(flavour, recipe)[0]


def _layers(flavour: Flavour, content: bytes, tile: int, report: Path) -> list[dict[str, Any]]:
    """The layers of a plan for one pair; the inspector's own words go to a file.

    The batch is dynamic, so the inspector tells types only of a context that is set to shapes.
    """
    cuda = open_cuda()
    engine = engine_of(flavour, content)
    context, inspector = engine.create_execution_context(), engine.create_engine_inspector()
    for name in INPUT_NAMES:
        context.set_input_shape(name, (1, 3, tile, tile))
    inspector.execution_context = context
    text = inspector.get_engine_information(flavour.module.LayerInformationFormat.JSON)
    del inspector, context, engine
    cuda.close()
    with replacing(report, SchangerError) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return [layer for layer in json.loads(text)["Layers"] if isinstance(layer, dict)]


def _types(layer: dict[str, Any], side: str) -> list[str]:
    """Formats and types, in TensorRT's words, of a layer's `Inputs` or `Outputs`."""
    return [tensor.get("Format/Datatype", "unknown") for tensor in layer.get(side, [])] or ["unknown"]
