"""`schanger-edge doctor`: what this machine has, what a run will use, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import importlib.util
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import onnxruntime
import rasterio

from schanger_edge._version import __version__
from schanger_edge.errors import SessionError
from schanger_edge.sessions import plans
from schanger_edge.sessions.devices import usable_engine
from schanger_edge.sessions.flavour import MODULES, WORDS, load_flavour
from schanger_edge.sessions.gpu import Gpu, driver_present, find_gpu
from schanger_edge.sessions.ort import available_cores

L4T = ((35, "5 (not supported: Python 3.8, TensorRT 8.5; install JetPack 6)"), (36, "6"), (38, "7"), (39, "7"))
EXTRAS = {
    "quantize": ("onnx", "onnxconverter_common", "matplotlib"),
    "export": ("torch", "huggingface_hub", "kornia"),
    "bench": ("matplotlib", "pynvml"),
}
"""Extra: the packages that are looked for."""
MEGABYTE = 1e6
SECONDS = 5


@dataclasses.dataclass(frozen=True)
class Report:
    """One page on this machine.

    Attributes:
        facts: what is there, by name, in words.
        uses: what `--device auto` takes, and why.
        missing: what is not there, and the sentence or command that gets it.
    """

    facts: dict[str, str]
    uses: str
    missing: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)


def doctor(root: Path = Path("/")) -> Report:
    """Look at this machine; changes nothing, builds nothing.

    Args:
        root: where the system's files are read.
    """
    facts = {
        "schanger-edge": __version__,
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        **_board(root),
        "processor": f"{available_cores()} cores",
        "memory": _memory(root),
        "Python": platform.python_version(),
        "GDAL": rasterio.__gdal_version__,
        "ONNX Runtime": f"{onnxruntime.__version__} ({', '.join(onnxruntime.get_available_providers())})",
    }
    missing: dict[str, str] = {}
    gpu = _gpu(missing)
    if gpu is not None:
        shared = ", shares the CPU's memory" if gpu.integrated else ""
        facts["GPU"] = f"{gpu.name}, compute capability {gpu.capability}, {gpu.memory / MEGABYTE:,.0f} MB{shared}"
        facts["CUDA"] = f"driver for {gpu.driver}, reached by {gpu.binding}"
    for name in MODULES:
        try:
            facts[WORDS[name]] = load_flavour(name).version  # type: ignore[arg-type]
        except SessionError as error:
            missing[WORDS[name]] = str(error)
    if any(WORDS[name] in facts for name in MODULES):  # one of the two is enough
        for name in MODULES:
            missing.pop(WORDS[name], None)
    for extra, packages in EXTRAS.items():
        absent = [package for package in packages if importlib.util.find_spec(package) is None]
        if absent:
            missing[f"extra {extra}"] = f"{', '.join(absent)}: pip install 'schanger-edge[{extra}]'"
        else:
            facts[f"extra {extra}"] = "installed"
    facts["engine cache"] = _cache()
    return Report(facts, usable_engine(), missing)


def _gpu(missing: dict[str, str]) -> Gpu | None:
    try:
        return find_gpu()
    except SessionError as error:
        if driver_present():
            missing["CUDA"] = str(error)
        else:
            missing["GPU"] = "no NVIDIA driver answers here: runs take the CPU"
        return None


def _board(root: Path) -> dict[str, str]:
    """Board, JetPack, power mode and clocks of a Jetson; nothing elsewhere."""
    release = _text(root / "etc" / "nv_tegra_release")
    model = _text(root / "proc" / "device-tree" / "model").rstrip("\0")
    if not release:
        return {"board": model} if model else {}
    found = re.search(r"R(\d+).*?REVISION: ([\d.]+)", release)
    jetpack = "not known to this version"
    if found:
        jetpack = dict(L4T).get(int(found[1]), jetpack)
        jetpack = f"{jetpack}, L4T {found[1]}.{found[2]}"
    return {"board": model or "Jetson", "JetPack": jetpack, "power mode": _power_mode(), "GPU clock": _gpu_clock(root)}


def _power_mode() -> str:
    try:
        said = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "not readable: nvpmodel does not answer"
    found = re.search(r"NV Power Mode: *(\S+)", said)
    return found[1] if found else "not readable: run sudo nvpmodel -q"


def _gpu_clock(root: Path) -> str:
    for folder in sorted((root / "sys" / "class" / "devfreq").glob("*gpu*")):
        now, most = (_text(folder / name).strip() for name in ("cur_freq", "max_freq"))
        if now.isdigit() and most.isdigit():
            return f"{int(now) / 1e6:.0f} of {int(most) / 1e6:.0f} MHz"
    return "not readable"


def _memory(root: Path) -> str:
    values = dict(re.findall(r"(MemTotal|MemAvailable): *(\d+) kB", _text(root / "proc" / "meminfo")))
    if len(values) < 2:
        return "not readable"
    total, free = (int(values[name]) * 1024 / 1e9 for name in ("MemTotal", "MemAvailable"))
    return f"{free:.1f} of {total:.1f} GB free"


def _cache() -> str:
    folder = plans.engine_cache()
    found = list(folder.glob(f"*{plans.SUFFIX}")) if folder.is_dir() else []
    size = sum(path.stat().st_size for path in found)
    return f"{folder}: {len(found)} plan{'' if len(found) == 1 else 's'}, {size / MEGABYTE:.1f} MB"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
