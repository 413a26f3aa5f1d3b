"""TensorRT and TensorRT-RTX: which one is installed, and what its version asks for.

Both have one API; everything here and beside it takes the module as a parameter. Versions from 8.6 to 11 differ in
what is told apart below.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Any

from schanger_edge.errors import SessionError
from schanger_edge.host import board
from schanger_edge.model.plan import FLAVOURS, Name
from schanger_edge.sessions import gpu

MODULES: dict[Name, str] = {"tensorrt": "tensorrt", "rtx": "tensorrt_rtx"}
INSTALL: dict[Name, str] = {
    "tensorrt": "pip install 'schanger-edge[tensorrt]' (on Jetson it comes with JetPack: python3-libnvinfer from apt, "
    "in an environment made with --system-site-packages)",
    "rtx": "pip install 'schanger-edge[rtx]'",
}
DLA_LIBRARY = "libnvdla_compiler"
DLA_PACKAGE = (
    "this library is in JetPack 6's package nvidia-l4t-dla-compiler (sudo apt install nvidia-l4t-dla-compiler, in a "
    "container from NVIDIA's repository for Jetson); a later JetPack has a TensorRT that does without it"
)
OLDEST = (8, 6)
STRONG_SINCE = (10, 0)


@dataclasses.dataclass(frozen=True)
class Flavour:
    """One installed TensorRT.

    Attributes:
        name: `tensorrt` or `rtx`.
        module: as imported.
        version: such as `10.3.0`.
    """

    name: Name
    module: Any
    version: str

    @property
    def words(self) -> str:
        """`TensorRT 10.3.0`."""
        return f"{FLAVOURS[self.name]} {self.version}"

    @property
    def strong(self) -> bool:
        """Whether types come from the graph; else from builder flags, and FP16 is made from the FP32 model."""
        return self.name == "rtx" or version_of(self.version) >= STRONG_SINCE

    @property
    def network_flags(self) -> int:
        """For `create_network`: 8.x is told of the batch axis, 10 of strong types; 11 has no others and ignores it."""
        flags = getattr(self.module, "NetworkDefinitionCreationFlag", None)
        wanted = ["EXPLICIT_BATCH"] if version_of(self.version)[0] < 10 and self.name == "tensorrt" else []
        wanted += ["STRONGLY_TYPED"] if self.strong else []
        return sum(1 << int(getattr(flags, name)) for name in wanted if hasattr(flags, name))


def load_flavour(name: Name | None = None) -> Flavour:
    """Import TensorRT or TensorRT-RTX; by default TensorRT where it is, else RTX.

    Raises:
        SessionError: it is not installed, does not load, or is too old.
    """
    if name is not None:
        return _loaded(name)
    reasons = []
    for candidate in MODULES:
        try:
            return _loaded(candidate)
        except SessionError as error:
            reasons.append(str(error))
    raise SessionError(reasons[0] if all("not installed" in r for r in reasons) else " ".join(reasons))


def _loaded(name: Name) -> Flavour:
    if name not in MODULES:
        raise SessionError(f"flavour {name!r} is unknown: use {' or '.join(MODULES)}.")
    try:
        module = importlib.import_module(MODULES[name])
    except ModuleNotFoundError as error:
        raise SessionError(f"{FLAVOURS[name]} is not installed: {_way_to(name)}.") from error
    except (ImportError, OSError) as error:  # a library of it is missing or of another version
        if DLA_LIBRARY in str(error):
            raise SessionError(f"{FLAVOURS[name]} does not load ({error}): {DLA_PACKAGE}.") from error
        raise SessionError(f"{FLAVOURS[name]} does not load ({error}): reinstall it with {_way_to(name)}.") from error
    version = str(getattr(module, "__version__", "0"))
    if name == "tensorrt" and version_of(version) < OLDEST:
        raise SessionError(
            f"TensorRT {version} is too old, 8.6 or later is needed: on Jetson install JetPack 6 or newer."
        )
    return Flavour(name, module, version)


def start(flavour: Flavour, part: str, log: Any) -> Any:
    """TensorRT's `Builder` or `Runtime`.

    Raises:
        SessionError: it does not start, mostly because the driver is older than the CUDA it was built for.
    """
    try:
        return getattr(flavour.module, part)(log)
    except TypeError as error:  # its constructor gave nothing; the log says why
        raise SessionError(f"{flavour.words} does not start ({last_complaint(log)}): {_mend(flavour)}") from error


def _mend(flavour: Flavour) -> str:
    """What to do where TensorRT does not start."""
    try:
        driver = gpu.find_gpu().driver
    except SessionError as error:
        return str(error)
    if board.is_jetson():
        return (
            f"the driver is for CUDA {driver}. Use JetPack's own TensorRT (python3-libnvinfer), and uninstall what pip "
            "installed in its place."
        )
    package = {"tensorrt": "tensorrt-cu", "rtx": "tensorrt-rtx-cu"}[flavour.name] + driver.split(".")[0]
    return (
        f"the driver is for CUDA {driver}. Update the driver, or with pip put {package} in its place, which is built "
        "for that CUDA."
    )


def last_complaint(log: Any) -> str:
    """What TensorRT said last, for a sentence."""
    return str(log.errors[-1]) if log.errors else "no reason given"


def _way_to(name: Name) -> str:
    """How it is installed here; a wheel would hide JetPack's own, or does not exist."""
    if not board.is_jetson():
        return INSTALL[name]
    return {
        "tensorrt": "sudo apt install python3-libnvinfer, and an environment made with --system-site-packages",
        "rtx": "not on Jetson, which TensorRT-RTX does not serve: use TensorRT",
    }[name]


def version_of(text: str) -> tuple[int, int]:
    """(major, minor) of a version in words."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def error_log(trt: Any) -> Any:
    """A logger for a TensorRT module; `errors` holds the first line of each complaint."""

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps complaints, drops the rest."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message.strip().splitlines()[0][:300])

    return Log()
