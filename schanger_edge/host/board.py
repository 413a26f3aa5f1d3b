"""What a machine's system files say of it: Jetson board, JetPack, power mode, clocks, NVIDIA driver, memory.

Every function takes the folder that stands for `/`, and answers in words; what cannot be read is said, never guessed.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from pathlib import Path

_ARCHIVE: dict[str, str] = json.loads(Path(__file__).with_name("jetpacks.json").read_text(encoding="utf-8"))
JETPACKS = tuple((tuple(map(int, release.split("."))), name) for release, name in _ARCHIVE.items())
"""Jetson Linux (L4T) release and the JetPack it came with, by NVIDIA's JetPack archive; oldest first."""

TOO_OLD = " (not supported: Python 3.8, TensorRT 8.5; install JetPack 6)"
EMC = "sys/kernel/debug/bpmp/debug/clk/emc"  # root alone may read it
NVIDIA_VENDOR, DISPLAY_CLASS = "0x10de", "0x03"
SECONDS = 5


def board(root: Path) -> dict[str, str]:
    """Board, JetPack, power mode and clocks of a Jetson; elsewhere the board where it is told, else nothing."""
    release = text_of(root / "etc/nv_tegra_release")
    model = board_name(root)
    if not release:
        return {"board": model} if model else {}
    gpus = sorted((root / "sys/class/devfreq").glob("*gpu*"))
    return {
        "board": model or "Jetson",
        "JetPack": jetpack(release, text_of(root / "var/lib/dpkg/status")),
        "power mode": _power_mode(),
        "CPU clock": _cpu_clock(root),
        "GPU clock": _clock(gpus, "cur_freq", "max_freq") or "not readable",
        "memory clock": _memory_clock(root),
    }


def board_name(root: Path = Path("/")) -> str:
    """Such as `NVIDIA Jetson Orin Nano Developer Kit`; empty where the machine does not tell."""
    return text_of(root / "proc/device-tree/model").rstrip("\0")


def is_jetson(root: Path = Path("/")) -> bool:
    """Whether this is a Jetson; a container shows the device tree, though not the release."""
    compatible = text_of(root / "proc/device-tree/compatible")
    return (root / "etc/nv_tegra_release").exists() or "nvidia,tegra" in compatible


def jetpack(release: str, packages: str = "") -> str:
    """JetPack in words: what its package says, else by the L4T release; a range where that does not tell.

    Args:
        release: content of /etc/nv_tegra_release, such as `# R36 (release), REVISION: 4.3, ...`.
        packages: content of /var/lib/dpkg/status.
    """
    found = re.search(r"R(\d+)(?:.*?REVISION: ([\d.]+))?", release)
    if not found:
        return "not given in /etc/nv_tegra_release"
    major, revision = int(found[1]), found[2] or ""
    installed = re.search(
        r"^Package: nvidia-jetpack\nStatus: install ok installed\n(?:.+\n)*?Version: ([\d.]+)", packages, re.M
    )
    words = installed[1] if installed else _by_release(major, [int(part) for part in revision.split(".") if part])
    too_old = TOO_OLD if major < 36 else ""
    return f"{words}{too_old}, L4T {major}{'.' * bool(revision)}{revision}"


def driver(root: Path) -> str | None:
    """Version of the NVIDIA driver, such as `550.54.15`; None where there is none."""
    found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", text_of(root / "proc/driver/nvidia/version"))
    if found:
        return found[1]
    said = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")  # Windows and WSL
    first = said.split("\n")[0].strip()
    return first if re.fullmatch(r"[\d.]+", first) else None


def sees_nvidia_card(root: Path) -> bool:
    """Whether a graphics card of NVIDIA is plugged in, with or without a driver (Linux)."""
    return any(
        text_of(folder / "vendor").strip() == NVIDIA_VENDOR and text_of(folder / "class").startswith(DISPLAY_CLASS)
        for folder in (root / "sys/bus/pci/devices").glob("*")
    )


def processor(root: Path) -> str:
    """The CPU's name as Linux tells it; elsewhere what Python knows, which may be nothing."""
    return cpu_model(root) or platform.processor()


def cpu_model(root: Path) -> str | None:
    """The CPU's name as Linux tells it; None where it does not, as on many boards."""
    found = re.search(r"^model name\s*: (.+)$", text_of(root / "proc/cpuinfo"), re.M)
    return found[1].strip() if found else None


def memory(root: Path) -> str:
    """Free and all main memory."""
    free, total = (_kilobytes(root / "proc/meminfo", name) for name in ("MemAvailable", "MemTotal"))
    if free is None or total is None:
        return "not readable"
    return f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"


def free_memory(root: Path) -> int | None:
    """Bytes of main memory that programs may still take; Linux only."""
    return _kilobytes(root / "proc/meminfo", "MemAvailable")


def peak_memory(root: Path) -> int | None:
    """Bytes of main memory that this process has held at most; Linux only.

    Unlike what `wait4` and `getrusage` tell, without the peak of the process that started it.
    """
    return _kilobytes(root / "proc/self/status", "VmHWM")


def text_of(path: Path) -> str:
    """A file's content; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def number_of(path: Path) -> float | None:
    """The whole number that a file of the kernel's holds; None where it cannot be read."""
    text = text_of(path).strip()
    return float(text) if text.isdigit() else None


def _kilobytes(path: Path, name: str) -> int | None:
    """A size in a file of /proc, in bytes."""
    found = re.search(rf"^{name}:\s*(\d+) kB", text_of(path), re.M)
    return int(found[1]) * 1024 if found else None


def _by_release(major: int, revision: list[int]) -> str:
    """By the L4T release: that JetPack, or between which ones it lies."""
    family = [(number, name) for number, name in JETPACKS if number[0] == major]
    if not family:
        return "unknown to this version"
    if not revision:
        return f"{family[0][1]} to {family[-1][1]}"
    here = (major, *revision[:2], 0)[:3]
    older = [name for number, name in family if number <= here]
    newer = [name for number, name in family if number > here]
    if here in dict(family) or (older and newer and older[-1] == newer[0]):
        return older[-1]
    if not older:
        return f"older than {newer[0]}"
    return f"{older[-1]} to {newer[0]}" if newer else f"{older[-1]} or newer"


def _power_mode() -> str:
    found = re.search(r"NV Power Mode: *(\S+)", _said("nvpmodel", "-q"))
    return found[1] if found else "not readable: run sudo nvpmodel -q"


def _cpu_clock(root: Path) -> str:
    folders = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    clocks = [clock for folder in folders if (clock := _pair(folder, "scaling_cur_freq", "scaling_max_freq", 1e3))]
    if not clocks:
        return "not readable"
    now, most = zip(*clocks, strict=True)
    spread = f"{min(now):.0f}" if min(now) == max(now) else f"{min(now):.0f} to {max(now):.0f}"
    return f"{spread} of {max(most):.0f} MHz, {len(clocks)} cores online"


def _memory_clock(root: Path) -> str:
    """EMC: under debugfs, and on Thor beside the other clocks."""
    found = _clock([root / EMC], "rate", "max_rate") or _clock(
        [root / "sys/class/devfreq/bwmgr"], "cur_freq", "max_freq"
    )
    return found or f"readable only by root: sudo cat /{EMC}/rate"


def _clock(folders: list[Path], now: str, most: str) -> str:
    """Of the first folder that tells; empty where none does."""
    for folder in folders:
        if clock := _pair(folder, now, most, 1e6):
            return f"{clock[0]:.0f} of {clock[1]:.0f} MHz"
    return ""


def _pair(folder: Path, now: str, most: str, per_megahertz: float) -> tuple[float, float] | None:
    found, highest = number_of(folder / now), number_of(folder / most)
    return None if found is None or highest is None else (found / per_megahertz, highest / per_megahertz)


def _said(*command: str) -> str:
    """What a command prints; empty where it is not there or does not answer."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
