"""The state of a machine: power mode, clocks, temperatures, throttling counters, load."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

from schanger_edge.host import board
from schanger_edge.host.board import number_of, text_of
from schanger_edge.host.nvml import NO_GPU, Nvml

_CPU = "sys/devices/system/cpu"
_COOLED = re.compile(r"cpu|gpu|processor|devfreq", re.IGNORECASE)
"""Types of cooling devices that cool by slowing down; fans are none."""


def conditions(root: Path = Path("/"), nvml: Nvml = NO_GPU) -> dict[str, Any]:
    """The state now. Keys whose values cannot be read hold None or nothing.

    Returns:
        `power_mode` (Jetson) and `governor` in words; `cpu_mhz` and `gpu_mhz`; `celsius` by zone; `throttle_counts` by
        counter, of which only a rise means something; `gpu_held_down_by`; `load` (average of a minute).
    """
    governor = text_of(root / _CPU / "cpu0/cpufreq/scaling_governor").strip() or None
    state = {"power_mode": board.board(root).get("power mode"), "governor": governor, **clocks(root, nvml)}
    state |= {"celsius": _temperatures(root, nvml), "throttle_counts": _throttle_counts(root)}
    return state | {"load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None}


def clocks(root: Path = Path("/"), nvml: Nvml = NO_GPU) -> dict[str, Any]:
    """Of the fastest CPU core and of the GPU, in MHz, and what holds the GPU's clock down."""
    cores = map(number_of, (root / _CPU).glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    cpu = max((kilohertz / 1e3 for kilohertz in cores if kilohertz is not None), default=None)
    if cpu is None:  # virtual machines have it here, if at all
        found = re.findall(r"^cpu MHz\s*: ([\d.]+)", text_of(root / "proc/cpuinfo"), re.MULTILINE)
        cpu = max(map(float, found), default=None)
    gpu = nvml.megahertz()
    if gpu is None:
        speeds = map(number_of, sorted((root / "sys/class/devfreq").glob("*gpu*/cur_freq")))
        gpu = next((hertz / 1e6 for hertz in speeds if hertz is not None), None)
    return {"cpu_mhz": cpu, "gpu_mhz": gpu, "gpu_held_down_by": nvml.held_down_by()}


def _temperatures(root: Path, nvml: Nvml) -> dict[str, float]:
    found: dict[str, float] = {}
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        with contextlib.suppress(ValueError):  # a zone that is switched off
            found[text_of(zone / "type").strip() or zone.name] = int(text_of(zone / "temp")) / 1000
    celsius = nvml.celsius()
    return found if celsius is None else found | {"GPU": celsius}


def _throttle_counts(root: Path) -> dict[str, int]:
    """How often the CPU was slowed for heat, the board for current, and what cooling slows down now."""
    found: dict[str, int] = {}
    for name, pattern in (
        ("CPU thermal limit", f"{_CPU}/cpu[0-9]*/thermal_throttle/*_throttle_count"),
        ("over-current", "sys/class/hwmon/hwmon*/oc*_event_cnt"),
    ):
        values = [text_of(path).strip() for path in root.glob(pattern)]
        if values:
            found[name] = sum(int(text) for text in values if text.isdigit())
    for device in sorted((root / "sys/class/thermal").glob("cooling_device*")):
        state, kind = text_of(device / "cur_state").strip(), text_of(device / "type").strip()
        if state.isdigit() and _COOLED.search(kind):
            found[f"cooling by {kind}"] = found.get(f"cooling by {kind}", 0) + int(state)
    return found
