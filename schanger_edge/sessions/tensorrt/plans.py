"""Plans on disk: written with their sidecar, found in the cache, and checked before TensorRT sees them.

What cannot be read or written, is damaged, or was built for something else is a SessionError that says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from schanger_edge import files
from schanger_edge.errors import SessionError
from schanger_edge.files import OTHER_CACHE, cache_folder
from schanger_edge.host import board
from schanger_edge.model.plan import SUFFIX, PlanCard, Target, read_plan_card, sidecar_of, this_system
from schanger_edge.sessions.gpu import Gpu
from schanger_edge.sessions.tensorrt.flavour import Flavour


def target_on(trt: Flavour, gpu: Gpu) -> Target:
    """What a plan is built for, and has to fit, on this machine: GPU and board, for boards share a GPU's name."""
    target = Target(trt.name, trt.version, this_system(), (gpu.capability,))
    if trt.name == "rtx":
        return target
    words = ", ".join(filter(None, (gpu.name, board.board_name() if gpu.integrated else "")))
    return dataclasses.replace(target, gpu=words, multiprocessors=gpu.multiprocessors)


def power_note(built: Target, here: Target) -> str:
    """What is to be said where a plan was built with more or fewer multiprocessors on; else empty."""
    if not built.multiprocessors or built.multiprocessors == here.multiprocessors:
        return ""
    return (
        f"the plan was built with {built.multiprocessors} multiprocessors, and {here.multiprocessors} are on now, as "
        "in another power mode: it runs, and `schanger-edge build --rebuild` may make a faster one."
    )


@contextlib.contextmanager
def locked(plan: Path) -> Iterator[None]:
    """Keeps other processes from building or replacing the same plan meanwhile."""
    path = plan.with_name(f".{plan.name}.lock")
    try:
        plan.parent.mkdir(parents=True, exist_ok=True)
        lock = files.locked(path, None)
    except OSError as error:
        raise SessionError(f"{plan} cannot be written ({error.strerror}): choose a writable folder.") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it when it is released
            path.unlink()
        lock.release()


def cached_plans() -> list[Path]:
    """The plans in the engine cache; none where there is no such folder yet."""
    folder = cache_folder("engine", SessionError)
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SessionError(f"the engine cache {folder} cannot be read ({error.strerror}): {OTHER_CACHE}") from error


def write_plan(plan: Path, content: bytes, card: PlanCard) -> PlanCard:
    """Write plan and sidecar; the sidecar comes last, and without it the plan is not loaded."""
    card = dataclasses.replace(card, plan_sha256=hashlib.sha256(content).hexdigest(), plan_bytes=len(content))
    sidecar = sidecar_of(plan)
    with files.replacing(sidecar, SessionError) as sidecar_temporary, files.replacing(plan, SessionError) as temporary:
        temporary.write_bytes(content)
        sidecar_temporary.write_text(card.to_json() + "\n")
        sidecar.unlink(missing_ok=True)  # an old sidecar never stands beside a new plan
    return card


def load_plan(plan: Path, here: Target) -> tuple[bytes, PlanCard]:
    """A plan's content, checked against its sidecar and against what is here, before TensorRT sees it."""
    card = read_plan_card(plan)
    if reason := card.target.misfit(here):
        raise SessionError(f"{plan.name} does not fit: {reason}; rebuild it with `schanger-edge build`.")
    try:
        content = plan.read_bytes()
    except OSError as error:
        raise SessionError(f"{plan} cannot be read ({error.strerror}): give this user read access.") from error
    if hashlib.sha256(content).hexdigest() != card.plan_sha256:
        raise SessionError(f"{plan} is not the plan that its sidecar describes (damaged or mixed up): rebuild it.")
    return content, card
