"""The sidecar of a TensorRT plan: what the plan was built from, for what machine and how; TensorRT is not asked.

A plan is executable code. Its sidecar guards against damage and mix-ups, not against malice: load only plans that you
built, or whose origin you trust.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import re
from pathlib import Path
from typing import Any, Literal

from schanger_edge.errors import SessionError
from schanger_edge.model.card import PUBLISHED_TILE, ModelCard
from schanger_edge.model.file import read_model

SUFFIX = ".plan"
FORMAT = 2
TF32_SINCE = 8.0  # compute capability
Name = Literal["tensorrt", "rtx"]
FLAVOURS: dict[Name, str] = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX"}
"""In words."""


@dataclasses.dataclass(frozen=True)
class Batches:
    """Shape profile: numbers of pairs of tiles in a batch, smallest, the one to be fastest at, largest."""

    least: int = 1
    best: int = 4
    most: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.best <= self.most:
            raise SessionError(
                f"--batch must be MIN,OPT,MAX with 1 <= MIN <= OPT <= MAX, not {self.least},{self.best},{self.most}."
            )

    @classmethod
    def for_tile(cls, side: int) -> Batches:
        """Where nothing is asked for; of tiles above 256 fewer, so that memory stays the same."""
        share = max(1.0, (side / PUBLISHED_TILE) ** 2)
        return cls(1, max(1, int(cls.best / share)), max(1, int(cls.most / share)))


@dataclasses.dataclass(frozen=True)
class Target:
    """What a plan is built for.

    Attributes:
        flavour: `tensorrt` or `rtx`.
        version: of it.
        system: operating system and processor, such as `linux-x86_64`.
        capabilities: compute capabilities, such as `8.7`.
        gpu: name of the GPU, and of the board it is on; empty where the plan runs on every GPU of these capabilities
            (RTX).
        multiprocessors: how many were on when it was built; power modes change that, so a plan fits with others too.
    """

    flavour: Name
    version: str
    system: str
    capabilities: tuple[str, ...]
    gpu: str = ""
    multiprocessors: int = 0

    def misfit(self, here: Target) -> str:
        """Why a plan for this target does not run here, in a few words; empty where it does."""
        if self.flavour != here.flavour:
            return f"it was built for {FLAVOURS.get(self.flavour, self.flavour)}, this is {FLAVOURS[here.flavour]}"
        if self.version != here.version:
            return f"it was built for {FLAVOURS[self.flavour]} {self.version}, this is {here.version}"
        if self.system != here.system:
            return f"it was built for {self.system}, this is {here.system}"
        if here.capabilities and not set(here.capabilities) & set(self.capabilities):
            return (
                f"it was built for compute capability {' and '.join(self.capabilities)}, this is "
                f"{' and '.join(here.capabilities)}"
            )
        if self.gpu and here.gpu and self.gpu != here.gpu:
            return f"it was built for {self.gpu}, this is {here.gpu}"
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
        tf32: FP32 layers may multiply in TF32.
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
    tf32: bool = True
    plan_sha256: str = ""
    plan_bytes: int = 0
    producer: str = ""

    @property
    def key(self) -> str:
        """Hash of all that makes a plan valid: where it differs, another plan is needed."""
        target = dataclasses.replace(self.target, multiprocessors=0)
        valid_by = dataclasses.replace(self, model="", target=target, plan_sha256="", plan_bytes=0, producer="")
        return hashlib.sha256(valid_by.to_json().encode()).hexdigest()

    @property
    def in_tf32(self) -> bool:
        """Whether convolutions multiply in TF32: FP32 ones do, on GPUs that have it, unless told not to."""
        has_fp32, able = (
            self.card.precision in ("fp32", "int8"),
            max(map(float, self.target.capabilities)) >= TF32_SINCE,
        )
        return self.tf32 and has_fp32 and able

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


def read_plan_card(plan: Path) -> PlanCard:
    """The sidecar of a plan; SessionError where plan or sidecar are missing, or the sidecar is damaged."""
    if not plan.is_file():
        raise SessionError(f"plan {plan} does not exist: build it with `schanger-edge build`.")
    try:
        return PlanCard.from_json(sidecar_of(plan).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SessionError(
            f"{plan} has no sidecar {sidecar_of(plan).name}, so it is unknown what it was built for: rebuild it."
        ) from error
    except Exception as error:  # whatever a damaged file makes of itself
        raise SessionError(f"{sidecar_of(plan)} is damaged or was altered: rebuild the plan.") from error


def info(model: Path) -> dict[str, Any]:
    """The card, with file and hash; of a plan its sidecar too, under `plan`.

    Args:
        model: an .onnx file, or a TensorRT plan with its sidecar; no GPU is needed.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
        SessionError: a plan is missing, or its sidecar is missing or damaged.
    """
    if model.suffix == SUFFIX:
        sidecar = dataclasses.asdict(read_plan_card(model))
        return {"file": str(model), "sha256": sidecar["plan_sha256"], **sidecar.pop("card"), "plan": sidecar}
    file = read_model(model)
    return {"file": str(model), "sha256": file.sha256, **dataclasses.asdict(file.card)}
