"""What NVIDIA's driver reports of a GPU by NVML: energy, power, memory, clock, heat, what holds the clock down."""

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
    """One GPU: the first of CUDA_VISIBLE_DEVICES, else the first. What it does not report is None."""

    def __init__(self, nvml: Any = None, handle: Any = None) -> None:
        self._nvml, self._handle = nvml, handle

    def __bool__(self) -> bool:
        """Whether there is a GPU; where there is none, nothing is reported."""
        return self._nvml is not None

    @classmethod
    def open(cls, device: str = "cuda") -> Nvml:
        """The GPU of a device; none for the CPU, or without nvidia-ml-py, driver or GPU."""
        if device == "cpu":
            return NO_GPU
        try:
            import pynvml
        except ImportError:
            return NO_GPU
        wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
        try:
            pynvml.nvmlInit()
            if wanted.startswith("GPU-"):
                return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(wanted))
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByIndex(int(wanted) if wanted.isdigit() else 0))
        except pynvml.NVMLError:
            return NO_GPU

    def joules(self) -> float | None:
        """Since the driver was loaded; Volta and newer."""
        return self._scaled("nvmlDeviceGetTotalEnergyConsumption", 1e-3)

    def watts(self) -> float | None:
        """Now."""
        return self._scaled("nvmlDeviceGetPowerUsage", 1e-3)

    def used_bytes(self) -> int | None:
        """Of the GPU's memory, by all programs."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else int(memory.used)

    def megahertz(self) -> float | None:
        """Of the multiprocessors, now."""
        return self._scaled("nvmlDeviceGetClockInfo", 1.0, "NVML_CLOCK_SM")

    def celsius(self) -> float | None:
        """Of the chip, now."""
        return self._scaled("nvmlDeviceGetTemperature", 1.0, "NVML_TEMPERATURE_GPU")

    def held_down_by(self) -> list[str]:
        """Why the clock is lower than it could be, now."""
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name before driver 535
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return [words for bit, words in HELD_DOWN.items() if (reasons or 0) & bit]

    def _scaled(self, function: str, factor: float, *arguments: str) -> float | None:
        value = self._ask(function, *arguments)
        return None if value is None else value * factor

    def _ask(self, function: str, *arguments: str) -> Any:
        """The answer to a function that takes the GPU and constants of these names."""
        call: Callable[..., Any] | None = getattr(self._nvml, function, None)
        try:
            return None if call is None else call(self._handle, *(getattr(self._nvml, name) for name in arguments))
        except self._nvml.NVMLError:  # this GPU does not report it
            return None


NO_GPU = Nvml()
