"""Energy meters and conditions, on fake /sys trees and a fake NVML; none was recorded on a machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from fake_pynvml import FakeNvml

from schanger_edge.bench.energy import Meters, ina3221, rapl, sampled
from schanger_edge.host.board import cpu_model
from schanger_edge.host.conditions import conditions
from schanger_edge.host.nvml import Nvml

INA = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
RAPL = "sys/class/powercap/intel-rapl:"


def fake_system(root: Path, files: dict[str, str]) -> Path:
    """A folder that stands for `/`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def rail(number: int, label: str, millivolts: int, milliamperes: int) -> dict[str, str]:
    names = (f"in{number}_label", f"in{number}_input", f"curr{number}_input")
    return {f"{INA}/{name}": str(value) for name, value in zip(names, (label, millivolts, milliamperes), strict=True)}


def packages(*microjoules: int) -> dict[str, str]:
    files = {}
    for number, value in enumerate(microjoules):
        files |= {f"{RAPL}{number}/name": f"package-{number}", f"{RAPL}{number}/energy_uj": str(value),
                  f"{RAPL}{number}/max_energy_range_uj": "1000000000"}  # fmt: skip
        files |= {f"{RAPL}{number}:0/name": "core", f"{RAPL}{number}:0/energy_uj": "5"}  # inside the package
    return files


def fake_gpu(monkeypatch: pytest.MonkeyPatch, **answers: object) -> FakeNvml:
    fake = FakeNvml(**answers)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_rapl_adds_packages_and_goes_round(tmp_path: Path) -> None:
    joules = rapl(fake_system(tmp_path, packages(999_000_000, 10)))
    assert joules is not None
    assert joules() == 0
    fake_system(tmp_path, packages(999_500_000, 2_000_010))
    assert joules() == pytest.approx(2.5)
    fake_system(tmp_path, packages(500_000, 2_000_010))  # past 1,000,000,000
    assert joules() == pytest.approx(3.5)


def test_rapl_that_may_not_be_read(tmp_path: Path) -> None:
    fake_system(tmp_path, {f"{RAPL}0/name": "package-0"})
    assert rapl(tmp_path) is None
    assert rapl(tmp_path / "empty") is None


def test_power_is_summed_over_time() -> None:
    with sampled(lambda: 20.0) as read:
        first, began = read(), time.monotonic()
        time.sleep(0.1)
        joules, seconds = read() - first, time.monotonic() - began
    assert joules == pytest.approx(20 * seconds, rel=0.2)


@pytest.mark.parametrize(
    ("rails", "name", "watts"),
    [
        ((("VDD_IN", 5000, 2000), ("VDD_SOC", 5000, 400)), "VDD_IN", 10),
        ((("VDD_GPU_SOC", 19000, 500), ("VDD_CPU_CV", 19000, 200), ("VIN_SYS_5V0", 5000, 1000)),
         "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0", 18.3),
    ],
)  # fmt: skip
def test_rails_of_a_board(tmp_path: Path, rails: tuple[tuple[str, int, int], ...], name: str, watts: float) -> None:
    for number, entry in enumerate(rails, 1):
        fake_system(tmp_path, rail(number, *entry))
    found = ina3221(tmp_path)
    assert found is not None
    assert found[0] == f"board (INA3221 {name})"
    assert found[1]() == pytest.approx(watts)


def test_rails_that_are_no_whole_board(tmp_path: Path) -> None:
    fake_system(tmp_path, rail(1, "VDD_SOC", 5000, 400))
    assert ina3221(tmp_path) is None


def test_a_board_has_everything_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch)
    fake_system(tmp_path, rail(1, "VDD_IN", 5000, 2000) | packages(7))
    with Meters(tmp_path, Nvml.open()) as meters:
        assert meters.covers == "board (INA3221 VDD_IN)"


def test_processor_and_gpu_are_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_gpu(monkeypatch)
    fake_system(tmp_path, packages(1_000_000))
    with Meters(tmp_path, Nvml.open()) as meters:
        assert meters.covers == "CPU package (RAPL) + GPU (NVML)"
        spent = meters.start()
        fake.answers["millijoules"] += 4_000
        fake_system(tmp_path, packages(3_000_000))
        assert spent() == pytest.approx(6)


def test_a_gpu_without_a_counter_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, millijoules=None)
    with Meters(tmp_path, Nvml.open()) as meters:
        assert meters.covers == "GPU (NVML, sampled)"


def test_nothing_is_measured_without_meters(tmp_path: Path) -> None:
    with Meters(tmp_path) as meters:
        assert (meters.covers, meters.start()()) == ("", None)


def test_which_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_gpu(monkeypatch, gpus=3)
    assert Nvml.open()
    for wanted in ("2,0", "GPU-12ab"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", wanted)
        Nvml.open()
    assert fake.opened == [0, 2, "GPU-12ab"]
    fake.answers["gpus"] = 0
    assert not Nvml.open()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert not Nvml.open()


def test_conditions_of_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpu(monkeypatch, reasons=0x40 | 0x01)
    cpu, thermal = "sys/devices/system/cpu", "sys/class/thermal"
    fake_system(tmp_path, {
        f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "729600", f"{cpu}/cpu1/cpufreq/scaling_cur_freq": "1510400",
        f"{cpu}/cpu0/cpufreq/scaling_governor": "schedutil", f"{thermal}/thermal_zone0/type": "cpu-thermal",
        f"{thermal}/thermal_zone0/temp": "51250", f"{thermal}/thermal_zone1/type": "off",
        f"{thermal}/cooling_device0/type": "pwm-fan", f"{thermal}/cooling_device0/cur_state": "3",
        f"{thermal}/cooling_device1/type": "cpufreq-cpu0", f"{thermal}/cooling_device1/cur_state": "2",
        f"{cpu}/cpu0/thermal_throttle/core_throttle_count": "4",
        f"{cpu}/cpu1/thermal_throttle/core_throttle_count": "5",
        "sys/class/hwmon/hwmon5/oc3_event_cnt": "1", "sys/class/devfreq/17000000.gpu/cur_freq": "306000000",
    })  # fmt: skip
    found = conditions(tmp_path)
    assert (found["cpu_mhz"], found["gpu_mhz"], found["governor"]) == (1510.4, 306, "schedutil")
    assert found["celsius"] == {"cpu-thermal": 51.25}
    assert found["throttle_counts"] == {"CPU thermal limit": 9, "over-current": 1, "cooling by cpufreq-cpu0": 2}
    with_gpu = conditions(tmp_path, Nvml.open())
    assert (with_gpu["gpu_mhz"], with_gpu["celsius"]["GPU"]) == (1500, 61)
    assert with_gpu["gpu_held_down_by"] == ["thermal slowdown"]


def test_conditions_that_cannot_be_read(tmp_path: Path) -> None:
    found = conditions(tmp_path)
    assert (found["cpu_mhz"], found["gpu_mhz"], found["power_mode"]) == (None, None, None)
    assert (found["celsius"], found["throttle_counts"], found["gpu_held_down_by"]) == ({}, {}, [])


def test_a_virtual_machine_tells_its_clock_elsewhere(tmp_path: Path) -> None:
    fake_system(tmp_path, {"proc/cpuinfo": "model name\t: Fake 9000\ncpu MHz\t\t: 2445.4\ncpu MHz\t\t: 2300.0"})
    assert conditions(tmp_path)["cpu_mhz"] == 2445.4
    assert cpu_model(tmp_path) == "Fake 9000"
    assert cpu_model(tmp_path / "none") is None
