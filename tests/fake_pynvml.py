"""A fake of nvidia-ml-py: one made-up GPU whose answers are attributes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """As NVML's."""


class FakeNvml:
    """To put in `sys.modules` as `pynvml`; `None` as an answer is what this GPU does not support."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "millijoules": 5_000, "milliwatts": 30_000, "used": 1_000_000, "megahertz": 1500, "celsius": 61,
            "reasons": 0, "gpus": 1, **answers,
        }  # fmt: skip
        self.opened: list[Any] = []

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.answers["gpus"]:
            raise NVMLError("driver not loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        if index >= self.answers["gpus"]:
            raise NVMLError("invalid argument")
        self.opened.append(index)
        return "handle"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        self.opened.append(uuid)
        return "handle"

    def _answer(self, name: str) -> Any:
        value = self.answers[name]
        if value is None:
            raise NVMLError("not supported")
        return value

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        return int(self._answer("millijoules"))

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:  # noqa: N802
        return int(self._answer("milliwatts"))

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(used=self._answer("used"))

    def nvmlDeviceGetClockInfo(self, handle: str, kind: int) -> int:  # noqa: N802
        return int(self._answer("megahertz"))

    def nvmlDeviceGetTemperature(self, handle: str, kind: int) -> int:  # noqa: N802
        return int(self._answer("celsius"))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:  # noqa: N802
        return int(self._answer("reasons"))
