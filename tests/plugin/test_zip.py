"""The plugin as QGIS installs it: `make qgis`."""

from __future__ import annotations

import configparser
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from helpers import ROOT, load_script

from schanger_edge._version import __version__

REQUIRED = ("name", "qgisMinimumVersion", "description", "about", "version", "author", "email", "repository", "tracker")


def test_it_holds_one_folder_with_what_qgis_asks_for(tmp_path: Path) -> None:
    build = load_script(ROOT / "qgis" / "build.py", "qgis_build").build
    (ROOT / "qgis" / "schanger_edge_qgis" / "__pycache__").mkdir(exist_ok=True)  # as after a run
    path = build(tmp_path / "one")
    assert path.name == f"schanger_edge_qgis-{__version__}.zip"
    assert path.read_bytes() == build(tmp_path / "two").read_bytes()
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        metadata = configparser.ConfigParser()
        metadata.read_string(packed.read("schanger_edge_qgis/metadata.txt").decode())
        icon = ElementTree.fromstring(packed.read("schanger_edge_qgis/icon.svg"))
    assert {name.partition("/")[0] for name in names} == {"schanger_edge_qgis"}
    assert {"schanger_edge_qgis/__init__.py", "schanger_edge_qgis/LICENSE"} <= set(names)
    assert {name.rpartition(".")[2] for name in names} == {"py", "txt", "svg", "schanger_edge_qgis/LICENSE"}
    assert [name for name in names if "__pycache__" in name or "test" in name] == []
    general = metadata["general"]
    assert [key for key in REQUIRED if not general.get(key)] == []
    assert (general["qgisMinimumVersion"], general["hasProcessingProvider"]) == ("3.22", "yes")
    assert general["version"] == __version__
    assert general["repository"] in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"schanger_edge_qgis/{general['icon']}" in names
    assert icon.tag.endswith("svg")
