"""Made-up boards: their system files, and stand-ins of the commands that the scripts in jetson/ call.

The files follow the form that NVIDIA documents; none was recorded on a board.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

JETSON = Path(__file__).parents[1] / "jetson"
APT = "Package: {0}\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n\n"

BOARDS = {  # name: (what /proc/device-tree/model says, L4T major and revision)
    "Orin Nano 6.2": ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "36", "4.3"),
    "AGX Orin 6.0": ("NVIDIA Jetson AGX Orin Developer Kit", "36", "3.0"),
    "AGX Orin 5.1.3": ("NVIDIA Jetson AGX Orin Developer Kit", "35", "5.0"),
    "Xavier NX 5.1.3": ("NVIDIA Jetson Xavier NX Developer Kit", "35", "5.0"),
    "Thor 7.1": ("NVIDIA Jetson AGX Thor Developer Kit", "38", "4.0"),
    "Orin 7.2": ("NVIDIA Jetson AGX Orin Developer Kit", "39", "2.0"),
    "preview": ("NVIDIA Jetson AGX Orin Developer Kit", "36", "2.0"),
    "desktop": (None, None, None),
    "Raspberry Pi": ("Raspberry Pi 5 Model B Rev 1.0", None, None),
    "unknown": ("NVIDIA Jetson Next Developer Kit", "41", "1.0"),
}


class FakeBoard:
    """A folder that stands for `/`, and a folder of commands that write down how they were called.

    Attributes:
        root: the folder.
    """

    def __init__(self, folder: Path, name: str, *, packages: tuple[str, ...] = (), megabytes: int = 8000) -> None:
        self.root, self._bin, self._calls = folder / "root", folder / "bin", folder / "calls"
        self._bin.mkdir(parents=True)
        model, major, revision = BOARDS[name]
        if model is not None:
            self.write("proc/device-tree/model", f"{model}\0")
        if major is not None:
            self.write("etc/nv_tegra_release", f"# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic\n")
        self.write("proc/meminfo", f"MemTotal:       {megabytes * 1_000_000 // 1024} kB\n")
        self.write("var/lib/dpkg/status", "".join(APT.format(package) for package in packages))
        (self.root / "var/lib/dpkg/updates").mkdir()
        for command in ("apt-get", "systemctl", "systemd-sysusers", "systemd-tmpfiles", "sleep"):
            self.command(command)
        self.command("id", "echo 0")
        (self._bin / "python3").symlink_to(sys.executable)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file of the board."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def command(self, name: str, body: str = "") -> None:
        """A stand-in on the path."""
        path = self._bin / name
        path.write_text(self.script(name, body))
        path.chmod(0o755)

    def script(self, name: str, body: str = "") -> str:
        """A shell script that notes its call, then does `body`."""
        return f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >> {self._calls}\n{body}\n'

    def calls(self) -> list[str]:
        """What was called so far, in order, `/` for the folder."""
        return self._calls.read_text().replace(str(self.root), "").splitlines() if self._calls.exists() else []

    def run(self, script: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run jetson/SCRIPT on this board; in what it prints, `/` stands for the folder and REPO for the checkout."""
        result = subprocess.run(
            ["bash", str(JETSON / script), *arguments], capture_output=True, text=True, check=False, cwd=folder,
            env={"PATH": f"{self._bin}:{os.environ['PATH']}", "SCHANGER_ROOT": str(self.root), "HOME": str(self.root),
                 "SCHANGER_SETTLE_SECONDS": "0"},
        )  # fmt: skip
        for name in ("stdout", "stderr"):
            words = getattr(result, name).replace(str(self.root), "").replace(str(JETSON.parent), "REPO")
            setattr(result, name, words)
        return result
