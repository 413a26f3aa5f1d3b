"""`schanger-edge doctor`: what this machine has, what a run will use, what is missing and how to get it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
from pathlib import Path
from typing import Any

import onnxruntime
import rasterio

from schanger_edge._version import __version__
from schanger_edge.errors import SessionError
from schanger_edge.host import board
from schanger_edge.sessions.devices import usable_engine
from schanger_edge.sessions.gpu import driver_present, find_gpu
from schanger_edge.sessions.ort import available_cores
from schanger_edge.sessions.ov import has_bf16, load_openvino, version_of
from schanger_edge.sessions.tensorrt import plans
from schanger_edge.sessions.tensorrt.flavour import INSTALL, MODULES, WORDS, load_flavour

EXTRAS = {
    "tensorrt": ("tensorrt", "cuda.bindings or pycuda"),
    "rtx": ("tensorrt_rtx",),
    "openvino": ("openvino",),
    "products": ("rio_cogeo", "pystac", "pyarrow"),
    "station": ("watchdog", "distributed", "prometheus_client"),
    "quantize": ("onnx", "onnxconverter_common", "matplotlib"),
    "export": ("torch", "huggingface_hub", "kornia"),
    "bench": ("matplotlib", "pynvml"),
}
"""Extra: the packages that are looked for."""
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
        "ONNX Runtime": f"{onnxruntime.__version__} ({', '.join(onnxruntime.get_available_providers())})",
    }
    missing: dict[str, str] = {}
    _look_at_gpu(root, facts, missing)
    _look_at_tensorrt(facts, missing)
    _look_at_openvino(facts, missing)
    for extra, packages in EXTRAS.items():
        if absent := [names for names in packages if not any(map(_is_installed, names.split(" or ")))]:
            missing[f"extra {extra}"] = f"{', '.join(absent)}: {INSTALL.get(extra, _pip(extra))}"
        else:
            facts[f"extra {extra}"] = "installed"
    facts["engine cache"] = _cache()
    return Report(facts, usable_engine(), missing)


def _look_at_gpu(root: Path, facts: dict[str, str], missing: dict[str, str]) -> None:
    """Driver and GPU, or the command that shows or gets them."""
    version = board.driver(root)
    if version:
        facts["driver"] = version
    try:
        gpu = find_gpu()
    except SessionError as error:
        if driver_present():
            missing["CUDA"] = f"{error} What the driver sees: nvidia-smi"
        elif "JetPack" in facts:
            missing["GPU"] = "the driver's library is not found: sudo apt install nvidia-jetpack, then restart"
        elif board.sees_nvidia_card(root):
            missing["GPU"] = (
                "an NVIDIA card is here without its driver: sudo ubuntu-drivers install (Ubuntu; others: "
                "https://www.nvidia.com/drivers), restart, then nvidia-smi shows it"
            )
        else:
            missing["GPU"] = (
                "no NVIDIA driver answers here, runs take the CPU; whether a card is plugged in: lspci | grep -i nvidia"
            )
        return
    shared = ", shares the CPU's memory" if gpu.integrated else ""
    facts["GPU"] = f"{gpu.name}, compute capability {gpu.capability}, {gpu.memory / MEGABYTE:,.0f} MB{shared}"
    facts["CUDA"] = f"driver for {gpu.driver}, reached by {gpu.binding}"


def _look_at_tensorrt(facts: dict[str, str], missing: dict[str, str]) -> None:
    """Versions; of what is installed and does not work, why. What is not installed is said with its extra."""
    for name, package in MODULES.items():
        try:
            facts[WORDS[name]] = load_flavour(name).version  # type: ignore[arg-type]
        except SessionError as error:
            if _is_installed(package):
                missing[WORDS[name]] = str(error)


def _look_at_openvino(facts: dict[str, str], missing: dict[str, str]) -> None:
    """Version, and whether it can use bfloat16 here; of what is installed and does not work, why."""
    if not _is_installed("openvino"):
        return
    try:
        openvino = load_openvino()
        bf16 = has_bf16(openvino.Core())
    except (SessionError, RuntimeError) as error:
        missing["OpenVINO"] = str(error)
        return
    facts["OpenVINO"] = f"{version_of(openvino)} (FP32{' and bfloat16' if bf16 else '; this CPU has no bfloat16'})"


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:  # of the package it lies in
        return False


def _pip(extra: str) -> str:
    return f"pip install 'schanger-edge[{extra}]'"


def _cache() -> str:
    """Plans in the engine cache, and what is wrong with its folder."""
    try:
        folder, found = plans.engine_cache(), plans.cached_plans()
        size = sum(path.stat().st_size for path in found)
    except SessionError as error:
        return str(error)
    except OSError as error:
        return f"{plans.engine_cache()} cannot be read ({error.strerror}): {plans.OTHER_CACHE}"
    words = f"{folder}: {len(found)} plan{'' if len(found) == 1 else 's'}, {size / MEGABYTE:.1f} MB"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        return f"{words}; {there} cannot be written: {plans.OTHER_CACHE}"
    return words
