"""What NVIDIA's driver tells of a GPU by NVML: energy, power, memory, clock, heat, what holds the clock down."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

HELD_DOWN = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "thermal slowdown",
    0x80: "power brake",
}
"""Bits of NVML's clock event reasons that mean throttling."""


class Nvml:
    """One GPU: the first of CUDA_VISIBLE_DEVICES, else the first. What it does not tell is None."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    @classmethod
    def open(cls) -> Nvml | None:
        """None without nvidia-ml-py, driver or GPU."""
        try:
            import pynvml
        except ImportError:
            return None
        wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
        try:
            pynvml.nvmlInit()
            if wanted.startswith("GPU-"):
                return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(wanted))
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByIndex(int(wanted) if wanted.isdigit() else 0))
        except pynvml.NVMLError:
            return None

    def joules(self) -> float | None:
        """Since the driver was loaded; Volta and newer."""
        return self._scaled("nvmlDeviceGetTotalEnergyConsumption", 1e-3)

    def watts(self) -> float | None:
        """Now."""
        return self._scaled("nvmlDeviceGetPowerUsage", 1e-3)

    def used_bytes(self) -> int | None:
        """Of the GPU's memory, by all programs."""
        told = self._ask("nvmlDeviceGetMemoryInfo")
        return None if told is None else int(told.used)

    def megahertz(self) -> float | None:
        """Of the multiprocessors, now."""
        return self._scaled("nvmlDeviceGetClockInfo", 1.0, self._nvml.NVML_CLOCK_SM)

    def celsius(self) -> float | None:
        """Of the chip, now."""
        return self._scaled("nvmlDeviceGetTemperature", 1.0, self._nvml.NVML_TEMPERATURE_GPU)

    def held_down_by(self) -> list[str]:
        """Why the clock is lower than it could be, now."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name before driver 535
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return [words for bit, words in HELD_DOWN.items() if (reasons or 0) & bit]

    def _scaled(self, function: str, factor: float, *arguments: Any) -> float | None:
        told = self._ask(function, *arguments)
        return None if told is None else told * factor

    def _ask(self, function: str, *arguments: Any) -> Any:
        call: Callable[..., Any] | None = getattr(self._nvml, function, None)
        try:
            return None if call is None else call(self._handle, *arguments)
        except self._nvml.NVMLError:  # this GPU does not tell
            return None
