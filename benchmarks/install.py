"""Size and time of an installation, without and with the extra `models`, by pip from this checkout.

Each goes into a fresh virtual environment; `bytes` is what its files take, pip's own taken off. The time includes
downloads, or pip's cache where it has them.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import save

ROOT = Path(__file__).parent.parent
INSTALLATIONS = {"default": "", "models": "[models]"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measure(Path(folder) / name, extra) for name, extra in INSTALLATIONS.items()}
    added = found["models"]["bytes"] - found["default"]["bytes"]
    save("install", {"method": __doc__, "installations": found, "models_add_bytes": added})


def measure(place: Path, extra: str) -> dict[str, Any]:
    """A fresh environment with this checkout in it."""
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    empty, python = size_of(place), place / "bin" / "python"
    began = time.perf_counter()
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{ROOT}{extra}"], check=True)
    seconds = time.perf_counter() - began
    packages = subprocess.check_output([python, "-m", "pip", "list", "--format=freeze"], text=True).split()
    assert not any(name.startswith("torch==") for name in packages)
    return {"bytes": size_of(place) - empty, "seconds": round(seconds, 1), "packages": packages}


def size_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


if __name__ == "__main__":
    main()
