"""Plans on disk: the sidecar that says what a plan is for, the cache they lie in, and why one does not fit here.

A plan is executable code. Its sidecar guards against damage and mix-ups, not against malice: load only plans that you
built, or whose origin you trust.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from schanger_edge.errors import SessionError
from schanger_edge.files import replacing
from schanger_edge.model.card import ModelCard
from schanger_edge.sessions.gpu import Gpu
from schanger_edge.sessions.tensorrt.builder import Batches
from schanger_edge.sessions.tensorrt.flavour import WORDS, Flavour

SUFFIX = ".plan"
FORMAT = 2
CACHE_VARIABLE = "SCHANGER_EDGE_CACHE"
OTHER_CACHE = f"set {CACHE_VARIABLE} to a folder that may be written."


@dataclasses.dataclass(frozen=True)
class Target:
    """What a plan is built for.

    Attributes:
        flavour: `tensorrt` or `rtx`.
        version: of it.
        system: operating system and processor, such as `linux-x86_64`.
        capabilities: compute capabilities, such as `8.7`.
        gpu: name of the GPU; empty where the plan runs on every GPU of these capabilities (RTX).
    """

    flavour: str
    version: str
    system: str
    capabilities: tuple[str, ...]
    gpu: str = ""

    @classmethod
    def on(cls, trt: Flavour, gpu: Gpu) -> Target:
        """What a plan is built for, and has to fit, on this machine."""
        words = gpu.words if trt.name == "tensorrt" else ""
        return cls(trt.name, trt.version, this_system(), (gpu.capability,), words)

    def misfit(self, here: Target) -> str:
        """Why a plan for this target does not run here, in a few words; empty where it does."""
        if self.flavour != here.flavour:
            return f"it was built for {WORDS.get(self.flavour, self.flavour)}, here is {WORDS[here.flavour]}"
        if self.version != here.version:
            return f"it was built for {WORDS[self.flavour]} {self.version}, here is {here.version}"
        if self.system != here.system:
            return f"it was built for {self.system}, here is {here.system}"
        if here.capabilities and not set(here.capabilities) & set(self.capabilities):
            return (
                f"it was built for compute capability {' and '.join(self.capabilities)}, "
                f"here is {' and '.join(here.capabilities)}"
            )
        if self.gpu and here.gpu and self.gpu != here.gpu:
            return f"it was built for {self.gpu}, here is {here.gpu}"
        return ""


def this_system() -> str:
    """Operating system and processor."""
    return f"{platform.system().lower()}-{platform.machine().lower()}"


@dataclasses.dataclass(frozen=True)
class PlanCard:
    """The sidecar of a plan.

    Attributes:
        model: name of the model file that was asked for.
        model_sha256: its hash.
        source_sha256: hash of the file the plan was built from; another one where types are weak.
        card: the model's card.
        target: what it was built for.
        typing: `strong` or `weak`.
        flags: builder flags.
        batches: shape profile.
        workspace: bytes, or None.
        level: builder optimization level, or None.
        plan_sha256: hash of the plan; empty until it is built.
        plan_bytes: its size.
        producer: program and version that wrote it.
    """

    model: str
    model_sha256: str
    source_sha256: str
    card: ModelCard
    target: Target
    typing: str
    flags: tuple[str, ...]
    batches: Batches
    workspace: int | None = None
    level: int | None = None
    plan_sha256: str = ""
    plan_bytes: int = 0
    producer: str = ""

    @property
    def key(self) -> str:
        """Hash of all that makes a plan valid: where it differs, another plan is needed."""
        valid_by = dataclasses.replace(self, model="", plan_sha256="", plan_bytes=0, producer="")
        return hashlib.sha256(valid_by.to_json().encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """Of the plan in the cache."""
        name = re.sub(r"[^\w.+-]", "_", f"{self.card.name}-{self.card.precision}")
        return f"{name}-{self.key[:16]}{SUFFIX}"

    def to_json(self) -> str:
        """As it stands in the sidecar, with a digest of all the rest."""
        values = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps({**values, "digest": _digest(values)}, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> PlanCard:
        """Read a sidecar.

        Raises:
            ValueError, KeyError, TypeError, SchangerError: it is none.
        """
        values: dict[str, Any] = json.loads(text)
        if values.pop("digest") != _digest(values) or values.pop("format") != FORMAT:
            raise ValueError("altered, or of another format")
        values["card"] = ModelCard.from_json(json.dumps(values["card"]))
        target = values["target"]
        values["target"] = Target(**{**target, "capabilities": tuple(target["capabilities"])})
        values["batches"] = Batches(**values["batches"])
        values["flags"] = tuple(values["flags"])
        return cls(**values)


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def sidecar_of(plan: Path) -> Path:
    """`x.plan` -> `x.plan.json`."""
    return plan.with_name(f"{plan.name}.json")


@contextlib.contextmanager
def locked(plan: Path) -> Iterator[None]:
    """Keeps other processes from building or replacing the same plan meanwhile, where the system can.

    Raises:
        SessionError: the folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    lock = plan.with_name(f".{plan.name}.lock")
    while True:
        try:
            file = lock.open("w")
        except OSError as error:
            raise SessionError(
                f"{plan} cannot be written ({error.strerror}): choose a folder that exists and may be written."
            ) from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_still(file, lock):  # who held it has removed it, and another may hold a new one
                continue
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_still(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def engine_cache() -> Path:
    """The user's own folder for plans: SCHANGER_EDGE_CACHE, else XDG_CACHE_HOME, else ~/.cache.

    Raises:
        SessionError: this user has no home folder.
    """
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own) / "engines"
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "schanger-edge" / "engines"
    except RuntimeError as error:
        raise SessionError(f"there is no home folder for the engine cache: {OTHER_CACHE}") from error


def cached_plans() -> list[Path]:
    """The plans in the engine cache; none where there is no such folder yet.

    Raises:
        SessionError: the folder cannot be read.
    """
    folder = engine_cache()
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith(SUFFIX)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SessionError(f"the engine cache {folder} cannot be read ({error.strerror}): {OTHER_CACHE}") from error


def write_plan(plan: Path, content: bytes, card: PlanCard) -> PlanCard:
    """Write plan and sidecar; the sidecar comes last, and without it the plan is not loaded.

    Raises:
        SessionError: the folder cannot be written.
    """
    card = dataclasses.replace(card, plan_sha256=hashlib.sha256(content).hexdigest(), plan_bytes=len(content))
    sidecar = sidecar_of(plan)
    with replacing(sidecar, SessionError) as sidecar_temporary, replacing(plan, SessionError) as temporary:
        temporary.write_bytes(content)
        sidecar_temporary.write_text(card.to_json() + "\n")
        sidecar.unlink(missing_ok=True)  # an old sidecar never stands beside a new plan
    return card


def read_plan_card(plan: Path) -> PlanCard:
    """The sidecar of a plan.

    Raises:
        SessionError: plan or sidecar are missing, or the sidecar is damaged.
    """
    if not plan.is_file():
        raise SessionError(f"plan {plan} does not exist: make it with `schanger-edge build`.")
    try:
        return PlanCard.from_json(sidecar_of(plan).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SessionError(
            f"{plan} has no sidecar {sidecar_of(plan).name}, so nothing says what it is for: build it again."
        ) from error
    except Exception as error:  # whatever a damaged file makes of itself
        raise SessionError(f"{sidecar_of(plan)} is damaged or was altered: build the plan again.") from error


def load_plan(plan: Path, here: Target) -> tuple[bytes, PlanCard]:
    """A plan's content, checked against its sidecar and against what is here, before TensorRT sees it.

    Raises:
        SessionError: it is damaged, or was built for something else; the sentence says for what.
    """
    card = read_plan_card(plan)
    if reason := card.target.misfit(here):
        raise SessionError(f"{plan.name} does not fit: {reason}; build it again with `schanger-edge build`.")
    try:
        content = plan.read_bytes()
    except OSError as error:
        raise SessionError(f"{plan} cannot be read ({error.strerror}): let this user read it.") from error
    if hashlib.sha256(content).hexdigest() != card.plan_sha256:
        raise SessionError(f"{plan} is not the plan its sidecar describes, it is damaged or mixed up: build it again.")
    return content, card
