"""The QGIS that is installed here, and what a user does in its windows before the plugin runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

PYTHON = "/usr/bin/python3"
"""Debian's QGIS belongs to this one."""
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def has_qgis() -> bool:
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False).returncode == 0


def install_plugin(home: Path, packed: Path, settings: Mapping[str, str]) -> None:
    """Install the plugin from its ZIP file for who lives in `home`, and choose the provider's settings."""
    profile = home / ".local" / "share" / "QGIS" / "QGIS3" / "profiles" / "default"
    (profile / "QGIS").mkdir(parents=True)
    shutil.unpack_archive(packed, profile / "python" / "plugins")
    lines = [f"Configuration\\{name}={value}" for name, value in settings.items()]
    (profile / "QGIS" / "QGIS3.ini").write_text("\n".join(["[Processing]", *lines, ""]))
