"""Energy that is used meanwhile, by whatever meters a machine has: RAPL, the INA3221 of Jetson boards, NVML."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from schanger_edge.host.board import number_of, text_of
from schanger_edge.host.nvml import NO_GPU, Nvml

SAMPLE_SECONDS = 0.02
BOARD_RAILS = (("VDD_IN",), ("VIN",), ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"))
"""Rails that add up to a whole Jetson: Orin Nano and NX, others with one input rail, AGX Orin."""


def rapl(root: Path) -> Callable[[], float] | None:
    """Joules since now, by the counters of the processor packages; None where there are none or they cannot be read.

    Most systems let root alone read them. The function must be called at least once per turn of a counter (minutes).
    """
    zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
    last = {zone: number_of(zone / "energy_uj") for zone in zones if text_of(zone / "name").startswith("package")}
    if not last or None in last.values():
        return None
    total = 0.0

    def joules() -> float:
        nonlocal total
        for zone, before in last.items():
            now = number_of(zone / "energy_uj")
            if now is not None and before is not None:
                wrapped = (number_of(zone / "max_energy_range_uj") or 0.0) if now < before else 0.0
                total += max(0.0, now - before + wrapped) * 1e-6
                last[zone] = now
        return total

    return joules


@contextlib.contextmanager
def sampled(watts: Callable[[], float | None]) -> Iterator[Callable[[], float]]:
    """Joules since now, from a sensor of power that is read many times a second in a thread and integrated."""
    lock, ended = threading.Lock(), threading.Event()
    total, last = 0.0, (time.monotonic(), watts() or 0.0)

    def joules() -> float:
        nonlocal total, last
        with lock:
            (then, before), now, power = last, time.monotonic(), watts()
            power = before if power is None else power
            total, last = total + (now - then) * (before + power) / 2, (now, power)
            return total

    def sample() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            joules()

    thread = threading.Thread(target=sample, name="power", daemon=True)
    thread.start()
    try:
        yield joules
    finally:
        ended.set()
        thread.join()


def ina3221(root: Path) -> tuple[str, Callable[[], float]] | None:
    """Name and reader (watts) of the power of a whole Jetson board; None where there is no such sensor."""
    rails: dict[str, tuple[Path, Path]] = {}
    for label in sorted((root / "sys/bus/i2c/drivers/ina3221").glob("*/hwmon/hwmon*/in*_label")):
        number = label.name[len("in") : -len("_label")]
        rails[text_of(label).strip()] = (label.with_name(f"in{number}_input"), label.with_name(f"curr{number}_input"))
    for names in BOARD_RAILS:
        chosen = [rails[name] for name in names if name in rails]
        if len(chosen) == len(names) and all(number_of(path) is not None for pair in chosen for path in pair):
            return f"board (INA3221 {' + '.join(names)})", partial(_watts, chosen)
    return None


def _watts(rails: list[tuple[Path, Path]]) -> float:
    """Millivolts times milliamperes of each rail, added up."""
    return sum((number_of(volts) or 0.0) * (number_of(amperes) or 0.0) * 1e-6 for volts, amperes in rails)


class Meters(contextlib.ExitStack):
    """All meters of a machine that matter for its devices, until the context ends.

    Attributes:
        covers: what the energy is of, in words; empty where nothing is measured.
        nvml: of the GPU that is the device, if there is one.
    """

    def __init__(self, root: Path = Path("/"), nvml: Nvml = NO_GPU) -> None:
        super().__init__()
        self.nvml = nvml
        self._read: dict[str, Callable[[], float | None]] = {}
        board, processor = ina3221(root), rapl(root)
        if board is not None:  # has everything in it
            self._read[board[0]] = self.enter_context(sampled(board[1]))
        else:
            if processor is not None:
                self._read["CPU package (RAPL)"] = processor
            if nvml.joules() is not None:
                self._read["GPU (NVML)"] = nvml.joules
            elif nvml.watts() is not None:
                self._read["GPU (NVML, sampled)"] = self.enter_context(sampled(nvml.watts))
        self.covers = " + ".join(self._read)

    def start(self) -> Callable[[], float | None]:
        """Begin to measure; the function gives the joules since then, None where a meter is missing or has failed."""
        before = self._joules()

        def spent() -> float | None:
            after = self._joules()
            return None if before is None or after is None else after - before

        return spent

    def _joules(self) -> float | None:
        """Of all meters together, counted from some moment."""
        values = [read() for read in self._read.values()]
        return sum(filter(None, values)) if values and None not in values else None
