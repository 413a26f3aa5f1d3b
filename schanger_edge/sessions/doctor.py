"""`schanger-edge doctor`: what this machine has, what a run will use, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import os
import platform
from pathlib import Path
from typing import Any

import rasterio

from schanger_edge._version import __version__
from schanger_edge.errors import SessionError
from schanger_edge.files import OTHER_CACHE, cache_folder
from schanger_edge.host import board
from schanger_edge.sessions import gpu, register
from schanger_edge.sessions.devices import usable_engine
from schanger_edge.sessions.engine import Extra, is_installed
from schanger_edge.sessions.ort import available_cores
from schanger_edge.sessions.tensorrt.plans import cached_plans

EXTRAS = {
    "products": Extra(("rio_cogeo", "pystac", "pyarrow")),
    "station": Extra(("watchdog", "distributed", "prometheus_client")),
    "quantize": Extra(("onnx", "onnxconverter_common", "matplotlib")),
    "models": Extra(("onnx", "huggingface_hub")),
    "export": Extra(("torch", "huggingface_hub")),
    "bench": Extra(("matplotlib", "pynvml")),
}
"""Optional dependencies beside those of engines."""
MEGABYTE = 1e6


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
        **board.board(root),
        "processor": ", ".join(filter(None, (board.processor(root), f"{available_cores()} cores"))),
        "memory": board.memory(root),
        "Python": platform.python_version(),
        "GDAL": rasterio.__gdal_version__,
    }
    missing: dict[str, str] = {}
    _look_at_gpu(root, facts, missing)
    for engine in register.ENGINES:
        found = engine.findings()
        facts.update(found.facts)
        missing.update(found.missing)
    for name, extra in extras().items():
        if board.is_jetson(root) and not extra.for_jetson:
            continue
        if absent := [names for names in extra.packages if not any(map(is_installed, names.split(" or ")))]:
            how = extra.install or f"pip install 'schanger-edge[{name}]'"
            missing[f"extra {name}"] = f"{', '.join(absent)}: {how}"
        else:
            facts[f"extra {name}"] = "installed"
    facts["engine cache"] = _cache()
    return Report(facts, usable_engine(), missing)


def extras() -> dict[str, Extra]:
    """All optional dependencies by name, those of engines first."""
    return {name: extra for engine in register.ENGINES for name, extra in engine.extras.items()} | EXTRAS


def _look_at_gpu(root: Path, facts: dict[str, str], missing: dict[str, str]) -> None:
    """Driver and GPU, or the command that shows or gets them."""
    version = board.driver(root)
    if version:
        facts["driver"] = version
    try:
        found = gpu.find_gpu()
    except SessionError as error:
        if gpu.driver_present():
            missing["CUDA"] = f"{error} To see what the driver sees: nvidia-smi"
        elif "JetPack" in facts:
            missing["GPU"] = "the driver's library was not found: sudo apt install nvidia-jetpack, then restart"
        elif board.sees_nvidia_card(root):
            missing["GPU"] = (
                "an NVIDIA card is present, but its driver is not: sudo ubuntu-drivers install (Ubuntu; others: "
                "https://www.nvidia.com/drivers), restart, then nvidia-smi shows it"
            )
        else:
            missing["GPU"] = (
                "no NVIDIA driver responds, so runs use the CPU; to see whether a card is present: lspci | grep -i "
                "nvidia"
            )
        return
    shared = ", shares the CPU's memory" if found.integrated else ""
    facts["GPU"] = f"{found.name}, compute capability {found.capability}, {found.memory / MEGABYTE:,.0f} MB{shared}"
    facts["CUDA"] = f"driver for {found.driver}, through {found.binding}"
    if misfit := gpu.bindings_misfit(found):
        missing["CUDA"] = misfit


def _cache() -> str:
    """Plans in the engine cache, and what is wrong with its folder."""
    try:
        folder, found = cache_folder("engine", SessionError), cached_plans()
        size = sum(path.stat().st_size for path in found)
    except SessionError as error:
        return str(error)
    except OSError as error:
        return f"{cache_folder('engine', SessionError)} cannot be read ({error.strerror}): {OTHER_CACHE}"
    words = f"{folder}: {len(found)} plan{'' if len(found) == 1 else 's'}, {size / MEGABYTE:.1f} MB"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return f"{words}; {there} cannot be written: {OTHER_CACHE}"
    return words
