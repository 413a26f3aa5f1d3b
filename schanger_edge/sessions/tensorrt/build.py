"""`schanger-edge build`: a model file -> a TensorRT plan with its sidecar, in the cache or where the user wants it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from schanger_edge._version import __version__
from schanger_edge.errors import ModelError, SessionError
from schanger_edge.files import OTHER_CACHE, cache_folder, replacing, sha256_of
from schanger_edge.model import bundled
from schanger_edge.model.card import ModelCard
from schanger_edge.model.file import ModelFile, read_model
from schanger_edge.model.graph import fp32_nodes, read_named_nodes
from schanger_edge.model.plan import SUFFIX, Batches, PlanCard, Target, read_plan_card, this_system
from schanger_edge.progress import Progress
from schanger_edge.sessions import gpu
from schanger_edge.sessions.tensorrt import plans
from schanger_edge.sessions.tensorrt.builder import OBEY, Recipe, ScratchError, build_plan
from schanger_edge.sessions.tensorrt.flavour import Flavour, load_flavour
from schanger_edge.sessions.tensorrt.options import BuildOptions

QUANTIZING = ("QuantizeLinear", "DequantizeLinear")
MEGABYTE = 1 << 20
SCRATCH = {"small": 512, "base": 1024}
"""Megabytes for one pair of tiles of `SCRATCH_TILE` pixels: engines of TensorRT-RTX took 244 and 424 in FP32."""
SCRATCH_TILE = 256


@dataclasses.dataclass(frozen=True)
class Built:
    """What a build made or found.

    Attributes:
        plan: the file.
        card: its sidecar.
        cached: it was there already.
        explanation: what was built from which file, and why.
    """

    plan: Path
    card: PlanCard
    cached: bool
    explanation: str


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which file a plan is built from, with which flags, why, and what must stay FP32 although a flag says FP16."""

    source: Path
    flags: tuple[str, ...]
    explanation: str
    keep_fp32: tuple[str, ...] = ()


def build(
    model: str | PathLike[str] | ModelFile,
    plan: Path | None = None,
    options: BuildOptions | None = None,
    *,
    binding: gpu.Binding | None = None,
    rebuild: bool = False,
    progress: Progress | None = None,
) -> Built:
    """Build a plan, or find it in the cache.

    Args:
        model: an .onnx file.
        plan: file to write; None takes the user's cache.
        options: how it is built.
        binding: who is asked for the GPU.
        rebuild: build although the cache has it.
        progress: told (phase, done, total).

    Raises:
        SchangerError: the model is not usable, TensorRT or the GPU is missing, or the build fails.
    """
    options = options or BuildOptions()
    if plan is not None and plan.suffix != SUFFIX:
        raise SessionError(f"{plan.name} is not a plan's name: it must end in {SUFFIX}, such as {plan.stem}.plan.")
    model = read_model(model)
    trt = load_flavour(options.flavour)
    timings = _read_timings(options.timing_cache, trt)
    target = target_here(trt, options.capabilities, binding)
    choice = choose_source(model, trt)
    wanted = _wanted(model, trt, target, choice, options)
    path = plan or _in_cache(wanted)
    with plans.locked(path):  # another process may be building the same
        if not rebuild and (found := _cached(path, wanted)):
            return Built(path, found, True, f"{path} exists already; {_explained(choice, found)}")
        tell = progress or (lambda *_: None)
        tell("build", 0, 1)
        limit = None if options.workspace or options.capabilities else _scratch_limit(wanted, gpu.find_gpu(binding))
        recipe, said = _recipe(wanted, trt, choice, options), ""
        try:
            limited = dataclasses.replace(recipe, workspace=recipe.workspace or limit)
            content, timings = build_plan(trt, limited, timings, progress)
        except ScratchError as error:
            if limit is None:
                raise
            said = f"; {limit // MEGABYTE} MB of scratch memory were too little ({error.reason}), so it has no limit"
            content, timings = build_plan(trt, recipe, timings, progress)
        tell("build", 1, 1)
        written = plans.write_plan(path, content, wanted)
        if options.timing_cache is not None:
            with replacing(options.timing_cache, SessionError) as temporary:
                temporary.write_bytes(timings)
        return Built(path, written, False, _explained(choice, written) + said)


def _scratch_limit(wanted: PlanCard, here: gpu.Gpu) -> int | None:
    """Bytes of scratch memory for a plan; none where the GPU has memory of its own, which TensorRT may fill.

    On a board everything else needs the memory too: the limit is about twice what an engine was seen to take.
    """
    if not here.integrated:
        return None
    pair = SCRATCH.get(wanted.card.size, max(SCRATCH.values()))
    return math.ceil(pair * (wanted.card.tile / SCRATCH_TILE) ** 2 * wanted.batches.most) * MEGABYTE


def _explained(choice: Choice, card: PlanCard) -> str:
    tf32 = "; FP32 layers multiply in TF32, with 10 bits of fraction (build with --no-tf32 for whole FP32)"
    return choice.explanation + (tf32 if card.in_tf32 else "")


def _wanted(model: ModelFile, trt: Flavour, target: Target, choice: Choice, options: BuildOptions) -> PlanCard:
    """The sidecar of the plan to be built, but for its hash and size."""
    return PlanCard(
        model=model.path.name,
        model_sha256=model.sha256,
        source_sha256=sha256_of(choice.source),
        card=model.card,
        target=target,
        typing="strong" if trt.strong else "weak",
        flags=choice.flags,
        batches=options.batches or Batches.for_tile(model.card.tile),
        workspace=options.workspace and options.workspace * MEGABYTE,
        level=options.level,
        tf32=not options.no_tf32,
        producer=f"schanger-edge {__version__}",
    )


def _recipe(wanted: PlanCard, trt: Flavour, choice: Choice, options: BuildOptions) -> Recipe:
    return Recipe(
        source=choice.source,
        tile=wanted.card.tile,
        batches=wanted.batches,
        flags=choice.flags,
        # RTX is always told: left alone it builds a portable plan, which leaves out the oldest GPUs.
        capabilities=wanted.target.capabilities if trt.name == "rtx" else tuple(options.capabilities),
        workspace=wanted.workspace,
        level=wanted.level,
        keep_fp32=choice.keep_fp32,
        tf32=wanted.tf32,
    )


def find_built(model: ModelFile, trt: Flavour, here: Target) -> Built | None:
    """A plan in the cache that was built from this model and fits here: that for the largest batches, then the newest.

    Raises:
        SchangerError: as `build`.
    """
    choice = choose_source(model, trt)
    wanted = model.sha256, sha256_of(choice.source), choice.flags
    fitting = []
    for plan in plans.cached_plans():
        try:
            found = read_plan_card(plan)
            if (found.model_sha256, found.source_sha256, found.flags) == wanted:
                plans.load_plan(plan, here)
                fitting.append((found.batches.most, plan.stat().st_mtime, plan, found))
        except SessionError:
            continue
    if not fitting:
        return None
    *_, plan, found = max(fitting, key=lambda one: one[:2])
    return Built(plan, found, True, _explained(choice, found))


def target_here(trt: Flavour, capabilities: Sequence[str] = (), binding: gpu.Binding | None = None) -> Target:
    """What a plan is built for: the capabilities asked for, else the GPU that is here.

    Raises:
        SessionError: there is none.
    """
    if capabilities:
        return Target(trt.name, trt.version, this_system(), tuple(sorted(set(capabilities), key=_number)))
    try:
        found = gpu.find_gpu(binding)
    except SessionError as error:
        if trt.name == "rtx":
            raise SessionError(
                f"{error} Or use --compute-capability, such as 8.6, to build for another machine."
            ) from error
        raise
    return plans.target_on(trt, found)


def choose_source(model: ModelFile, trt: Flavour) -> Choice:
    """Which file to build from: the model itself where types are strong, else what weak types need.

    Raises:
        ModelError: the file that is needed is not beside the model.
    """
    path, card = model.path, model.card
    if trt.strong:
        return Choice(path, (), f"{trt.words} takes the types from {path.name} ({card.precision})")
    weak = f"{trt.words} does not take types from a graph, as 10.0 and later do"
    if card.precision == "fp32":
        return Choice(path, (), f"{weak}; {path.name} is fp32 and needs none")
    if card.precision == "fp16":
        source = _sibling(path, "fp32", lambda other: other.sha256 == card.parent_sha256)
        if source is None:
            raise ModelError(
                f"{weak}, so FP16 is built from the FP32 model: put the file that {path.name} was converted from "
                f"beside it (its sha256 begins with {(card.parent_sha256 or 'unknown')[:12]})."
            )
        explanation = f"{weak}; built from its parent {source.name} with the flag FP16, and TensorRT chooses what runs "
        return _held(Choice(source, ("FP16",), f"{explanation}in FP16"), card)
    source = path if card.precision == "int8" else _sibling(path, "int8", lambda other: _same_scales(other.card, card))
    if source is None:
        raise ModelError(
            f"{weak}, so INT8 is built from a plain INT8 model: run `schanger-edge calibrate` without --fp16, with "
            f"the same --data, and put its result beside {path.name}."
        )
    explanation = f"{weak}; built from {source.name} with the flags FP16 and INT8"
    return _held(Choice(source, ("FP16", "INT8"), explanation), card)


def _held(choice: Choice, card: ModelCard) -> Choice:
    """With weak types: what needs FP32 in any model is held there, and what this one's card names beside that.

    Q and DQ are not: TensorRT takes their types from the graph, and would hand FP32 on where INT8 is due.
    """
    check = "check it with `schanger-edge compare`"
    nodes = read_named_nodes(choice.source)
    quantizing = {name for name, node in nodes.items() if node.kind in QUANTIZING}
    held = tuple(sorted({*fp32_nodes(nodes), *card.kept_fp32} - quantizing))
    if not held:
        return dataclasses.replace(choice, explanation=f"{choice.explanation}: {check}")
    explanation = f"{choice.explanation}, but for {len(held)} nodes that are held in FP32: {check}"
    return Choice(choice.source, (*choice.flags, OBEY), explanation, held)


def _same_scales(other: ModelCard, card: ModelCard) -> bool:
    """Whether two INT8 models were made from one parent, on the same tiles, in the same way."""
    keys = ("method", "tiles_sha256", "kept_high_precision")
    same = all(other.calibration.get(key) == card.calibration.get(key) for key in keys)
    return same and other.parent_sha256 == card.parent_sha256


def _sibling(model: Path, precision: str, fits: Callable[[ModelFile], bool]) -> Path | None:
    """A model file of this precision that fits, in the same folder or among the bundled ones."""
    for path in (*sorted(model.parent.glob("*.onnx")), *sorted(bundled.FOLDER.glob("*.onnx"))):
        try:
            other = read_model(path)
        except ModelError:
            continue
        if other.card.precision == precision and fits(other):
            return path
    return None


def _cached(path: Path, wanted: PlanCard) -> PlanCard | None:
    """The sidecar of a plan that is just what is wanted, and whole."""
    try:
        content, found = plans.load_plan(path, wanted.target)
    except SessionError:
        return None
    return found if found.key == wanted.key and content else None


def _in_cache(wanted: PlanCard) -> Path:
    """The plan's place in the cache, whose folder is made."""
    folder = cache_folder("engine", SessionError)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SessionError(f"the engine cache {folder} cannot be created ({error.strerror}): {OTHER_CACHE}") from error
    return folder / wanted.file_name


def _read_timings(path: Path | None, trt: Flavour) -> bytes | None:
    if path is None:
        return None
    if trt.name == "rtx":
        raise SessionError(
            "TensorRT-RTX has no timing cache, since it measures when the plan first runs: omit --timing-cache."
        )
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise SessionError(f"timing cache {path} cannot be read ({error.strerror}): give a file.") from error


def _number(capability: str) -> float:
    try:
        return float(capability)
    except ValueError:
        raise SessionError(f"compute capability must be a number such as 8.6, not {capability!r}.") from None
