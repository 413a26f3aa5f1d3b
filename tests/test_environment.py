"""A machine with another installation of GDAL and PROJ, whose data its environment names."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
from helpers import MakePair

PROJ_DATA = Path(rasterio.__file__).parent / "proj_data"

needs_own_data = pytest.mark.skipif(not PROJ_DATA.is_dir(), reason="this rasterio brings no PROJ data")


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def proj_database(folder: Path, major: int, minor: int) -> str:
    folder.mkdir()
    with sqlite3.connect(folder / "proj.db") as file:
        file.execute("CREATE TABLE metadata (key TEXT, value TEXT)")
        versions = [("DATABASE.LAYOUT.VERSION.MAJOR", str(major)), ("DATABASE.LAYOUT.VERSION.MINOR", str(minor))]
        file.executemany("INSERT INTO metadata VALUES (?, ?)", versions)
    return str(folder)


@needs_own_data
@pytest.mark.parametrize(
    ("variable", "which"), [("PROJ_LIB", "older"), ("PROJ_DATA", "other major version"), ("PROJ_DATA", "absent")]
)
def test_a_proj_database_of_another_installation(
    variable: str, which: str, make_pair: MakePair, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a folder #1"
    if which != "absent":
        proj_database(folder, *((1, 0) if which == "older" else (2, 0)))
    a, b = make_pair(40, 40)
    command = [sys.executable, "-m", "schanger_edge", "run", a, b, "-o", tmp_path / "out", "--model", model]
    foreign = {variable: str(folder), "GDAL_DATA": str(folder)}
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, check=False, env={**os.environ, **foreign}
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "change.tif").exists()


@needs_own_data
def test_a_folder_that_our_proj_reads_stays(tmp_path: Path) -> None:
    """It may hold the grids of datums."""
    (tmp_path / "proj").symlink_to(PROJ_DATA)
    code = "import os, schanger_edge; print(sorted({'PROJ_DATA', 'GDAL_DATA'} & set(os.environ)))"
    assert python(code, PROJ_DATA=str(tmp_path / "proj"), GDAL_DATA=str(tmp_path)) == "['PROJ_DATA']"


def test_a_rasterio_without_data_of_its_own_takes_what_is_named(tmp_path: Path) -> None:
    (tmp_path / "rasterio").mkdir()
    (tmp_path / "rasterio" / "__init__.py").touch()
    code = "import os, schanger_edge; print(sorted({'PROJ_LIB', 'GDAL_DATA'} & set(os.environ)))"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    assert python(code, PROJ_LIB="/of/debian", GDAL_DATA="/of/debian", PYTHONPATH=path) == "['GDAL_DATA', 'PROJ_LIB']"
