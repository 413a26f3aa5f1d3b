"""Packs the plugin as QGIS installs it: build/qgis/schanger_edge_qgis-VERSION.zip, with the licence in it.

python qgis/build.py [FOLDER]
"""

from __future__ import annotations

import configparser
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
PLUGIN = HERE / "schanger_edge_qgis"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""A ZIP file's first date: the same sources give the same bytes."""


def build(folder: Path) -> Path:
    """The ZIP file, in `folder`."""
    metadata = configparser.ConfigParser()
    metadata.read(PLUGIN / "metadata.txt", encoding="utf-8")
    target = folder / f"{PLUGIN.name}-{metadata['general']['version']}.zip"
    folder.mkdir(parents=True, exist_ok=True)
    files = [path for path in sorted(PLUGIN.iterdir()) if path.is_file()]
    with zipfile.ZipFile(target, "w") as packed:
        for path in (*files, HERE.parent / "LICENSE"):
            packed.writestr(
                zipfile.ZipInfo(f"{PLUGIN.name}/{path.name}", _EARLIEST), path.read_bytes(), zipfile.ZIP_DEFLATED
            )
    return target


if __name__ == "__main__":
    print(build(Path(*sys.argv[1:]) if sys.argv[1:] else HERE.parent / "build" / "qgis"))
