"""What an engine offers the register: its devices and how they open, its part in `auto`, what doctor says of it."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from schanger_edge.errors import ModelError
from schanger_edge.model.file import ModelFile
from schanger_edge.progress import Progress
from schanger_edge.sessions.gpu import Binding
from schanger_edge.sessions.session import Session

SLOTS = 2


@dataclasses.dataclass(frozen=True)
class SessionOptions:
    """How a session shall run.

    Attributes:
        threads: threads of a CPU engine; None takes all cores this process may use.
        binding: by whom CUDA is reached; None takes what imports.
        slots: batches that may be under way at once on a GPU.
        progress: told (phase, done, total) while a plan is built.
    """

    threads: int | None = None
    binding: Binding | None = None
    slots: int = SLOTS
    progress: Progress | None = None


class Auto(Enum):
    """What `--device auto` may do with an engine."""

    NEVER = "it is taken only by name"
    ON_GPU = "where a driver answers, the first that opens is taken"
    IF_FASTER = "on the CPU, where a short trial finds it as exact as the reference and faster"
    REFERENCE = "on the CPU, where no other is better"


class OtherGraphError(ModelError):
    """An engine that computes one graph alone was given another; the reference engine runs it."""


class Extra(NamedTuple):
    """An optional dependency: packages to look for, how it is installed if not by pip alone, and for which boards."""

    packages: tuple[str, ...]
    install: str = ""
    for_jetson: bool = True


class Findings(NamedTuple):
    """What doctor says: facts by name, in words; and what is missing or broken, with what to do."""

    facts: Mapping[str, str] = {}
    missing: Mapping[str, str] = {}


class OwnFiles(NamedTuple):
    """Files that an engine alone opens: their suffix, what they are called, and how they open."""

    suffix: str
    words: str
    open: Callable[[Path, SessionOptions], Session]


@dataclasses.dataclass(frozen=True)
class Engine:
    """An engine, as the register lists it.

    Attributes:
        words: its name, such as `OpenVINO`.
        devices: how a model opens, by name of `--device`; `auto` takes the first.
        help: the devices' names as `--help` shows them, where that is shorter or says more.
        auto: what `auto` may do with it.
        parity: the largest difference from the reference in probability, 0-1, with which `auto` takes it.
        installed: whether its package is there; it is not imported.
        usable: what a run would use, in words; SessionError says what is in the way.
        findings: what doctor says of it.
        extras: its optional dependencies by name.
        own_files: files that it alone opens.
    """

    words: str
    devices: Mapping[str, Callable[[ModelFile, SessionOptions], Session]]
    help: str = ""
    auto: Auto = Auto.NEVER
    parity: float = 1e-3
    installed: Callable[[], bool] = lambda: True
    usable: Callable[[], str] | None = None
    findings: Callable[[], Findings] = Findings
    extras: Mapping[str, Extra] = dataclasses.field(default_factory=dict)
    own_files: OwnFiles | None = None

    @property
    def main_device(self) -> str:
        """The device that `auto` takes."""
        return next(iter(self.devices))

    def open(self, model: ModelFile, options: SessionOptions) -> Session:
        """A session on the main device."""
        return self.devices[self.main_device](model, options)


def is_installed(package: str) -> bool:
    """Whether a package is there; it is not imported, unless it lies in another."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # of the package it lies in; of a module that stands in for it
        return False
