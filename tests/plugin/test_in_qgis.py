"""The plugin in the QGIS that is installed here: qgis_process, and the algorithms as their dialogs run them."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from guides import WITHOUT_OPENVINO
from helpers import ROOT, load_script, terrain, write_tiff
from PIL import Image
from qgis_user import CLEAN, PYTHON, has_qgis, install_plugin

from schanger_edge.synthetic import SyntheticPair, write_pair

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not has_qgis(), reason="QGIS is not installed")]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    folder = tmp_path_factory.mktemp("two dates")  # a blank in the path
    return write_pair(folder, width=512, height=512, seed=5, after_crs="EPSG:4326")


@pytest.fixture
def interpreter(tmp_path: Path) -> Path:
    """This Python as a user's environment has it, with this tree in it."""
    path = tmp_path / "python"
    found = os.pathsep.join(map(str, (WITHOUT_OPENVINO, ROOT, ROOT / "export")))
    path.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(found)} exec {shlex.quote(sys.executable)} "$@"\n')
    path.chmod(0o755)
    return path


def settings_of(interpreter: Path, model: Path | None = None) -> dict[str, str]:
    return {
        "SCHANGER_EDGE_PROGRAM": str(interpreter),
        "SCHANGER_EDGE_DEVICE": "cpu",
        "SCHANGER_EDGE_MODEL": str(model or ""),
    }


def qgis(folder: Path, settings: dict[str, Any], *runs: dict[str, Any]) -> dict[str, Any]:
    """One start of QGIS, see qgis_plugin.py; settings are kept in `folder`."""
    request = folder / "request.json"
    request.write_text(json.dumps({"profile": str(folder / "profile"), "settings": settings, "runs": runs}))
    home = {"HOME": str(folder), "PYTHONHOME": ""}
    command = [PYTHON, ROOT / "tests" / "qgis_plugin.py", request]
    done = subprocess.run(command, env={**CLEAN, **home}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert [line for line in found["warnings"] if not line.startswith("Processing: ")] == []
    assert found["imported"] == []  # nothing of ours in QGIS's Python
    assert "schanger-edge" not in found["left"]
    return found


def find_changes(pair: SyntheticPair, output: Path, **parameters: Any) -> dict[str, Any]:
    images = {"BEFORE": str(pair.before), "AFTER": str(pair.after), "OUTPUT": str(output)}
    return {"algorithm": "schanger-edge:findchanges", "parameters": {**images, **parameters}}


def said(run: dict[str, Any], kind: str) -> list[str]:
    return [line.partition(": ")[2] for line in run["said"] if line.startswith(f"{kind}: ")]


def test_a_run_adds_its_layers_to_the_project(
    pair: SyntheticPair, interpreter: Path, model: Path, tmp_path: Path
) -> None:
    run = {**find_changes(pair, tmp_path / "out"), "picture": str(tmp_path / "map.png")}
    found = qgis(tmp_path, settings_of(interpreter, model), run)
    (done,) = found["runs"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert done["good"], done["said"]
    assert (done["results"]["COUNT"], done["results"]["AREA"]) == (
        summary["polygons"], summary["area_m2"]["changed"],
    )  # fmt: skip
    assert summary["polygons"] > 0
    assert summary["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()  # that of the settings
    for name in ("CHANGES", "CHANGE", "PROBABILITY", "REPORT"):
        assert Path(done["results"][name]).is_file()
    assert done["groups"] == {
        "Changes from before to after": [
            ["Changes", True, True],
            ["Change", False, True],
            ["Probability", False, True],
            ["After", True, True],
            ["Before", True, True],
        ]
    }
    assert any("megapixels" in line for line in said(done, "progress"))
    assert len(said(done, "progress")) <= 11 * len({line.partition(":")[0] for line in said(done, "progress")})
    assert max(done["shares"]) == 100
    assert 0 < min(share for share in done["shares"] if share) < 100
    with Image.open(tmp_path / "map.png") as shown:
        assert len(shown.convert("RGB").getcolors(1 << 24) or ()) > 1000  # a picture, not a blank page


def test_settings_are_kept(pair: SyntheticPair, interpreter: Path, model: Path, tmp_path: Path) -> None:
    """Over a restart of QGIS, and for qgis_process's user as for the dialog's."""
    settings = settings_of(interpreter, model)
    first = qgis(tmp_path, settings)
    assert first["before"] == dict.fromkeys(settings, "")
    again = qgis(tmp_path, dict.fromkeys(settings), find_changes(pair, tmp_path / "out", LOAD=False))
    assert again["before"] == again["kept"] == settings
    assert again["runs"][0]["good"]
    assert again["runs"][0]["groups"] == {}
    (command,) = said(again["runs"][0], "command")
    assert command.startswith(f"{shlex.quote(str(interpreter))} -m schanger_edge run ")
    assert f"--model {shlex.quote(str(model))} --device cpu" in command


def test_cancel_keeps_what_is_finished(interpreter: Path, model: Path, tmp_path: Path) -> None:
    dates = [write_tiff(tmp_path / f"{name}.tif", terrain(1024, 2048, seed=name)) for name in (1, 2)]
    run = find_changes(SyntheticPair(*dates, dates[0]), tmp_path / "out")
    found = qgis(tmp_path, settings_of(interpreter, model), {**run, "cancel_at": 30}, run)
    cancelled, resumed = found["runs"]
    assert not cancelled["good"]
    assert (cancelled["groups"], said(cancelled, "error")) == ({}, [])
    (kept,) = [line for line in said(cancelled, "info") if line.startswith("interrupted: ")]
    assert "the run is kept" in kept
    assert resumed["good"], resumed["said"]
    assert list(resumed["groups"]) == ["Changes from 1 to 2"]
    assert resumed["shares"][0] > 10  # it goes on where the first had come to


def test_errors_are_one_sentence(pair: SyntheticPair, interpreter: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    bare = tmp_path / "bare" / "python"
    bare.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S "$@"\n')
    bare.chmod(0o755)
    runs = [
        find_changes(pair, tmp_path / "out", OPTIONS="--bands 7,8,9"),
        find_changes(pair, tmp_path / "out", OPTIONS="--no-such-flag"),
        find_changes(pair, tmp_path / "out", MODEL="no-such-model"),
        find_changes(pair, tmp_path / "out", CLIP=str(tmp_path / "request.json"), EXTENT="0,1,0,1"),
    ]
    found = qgis(tmp_path, settings_of(interpreter, model), *runs)
    for wanted, run in zip(
        ("--bands", "No such option: --no-such-flag", "no-such-model", "leave one"), found["runs"], strict=True
    ):
        (error,) = said(run, "error")
        assert not run["good"]
        assert wanted in error
        assert "\n" not in error
        assert "Traceback" not in str(run["said"])
    assert not (tmp_path / "out").exists()
    (run,) = qgis(tmp_path, settings_of(bare), find_changes(pair, tmp_path / "out"))["runs"]
    assert said(run, "error") == [f"{bare} has no schanger-edge: run {bare} -m pip install schanger-edge."]


def area(pair: SyntheticPair, path: Path, shares: tuple[float, float, float, float]) -> shapely.Polygon:
    """A layer with a part of the scene, by shares of its sides, beside another layer."""
    with rasterio.open(pair.before) as image:
        (west, south, east, north), crs = image.bounds, image.crs.to_wkt()
    left, bottom, right, top = shares
    width, height = east - west, north - south
    box = shapely.box(west + left * width, south + bottom * height, west + right * width, south + top * height)
    for layer, shape in (("other", shapely.box(0, 0, 1, 1)), ("area", box)):
        layout = {"driver": "GPKG", "geometry_type": "Polygon", "crs": crs, "layer": layer, "append": path.exists()}
        wkb = np.array([shapely.to_wkb(shape)], object)
        pyogrio.raw.write(path, wkb, field_data=[np.array([1])], fields=["number"], **layout)
    return box


def known_area(folder: Path) -> float:
    """Square metres that have a result."""
    with rasterio.open(folder / "change.tif") as change:
        return float(np.count_nonzero(change.read(1) != 255)) * abs(change.transform.a * change.transform.e)


def test_areas_of_interest(pair: SyntheticPair, interpreter: Path, model: Path, tmp_path: Path) -> None:
    """A layer of several, an extent, and labels that are scored within an area."""
    box = area(pair, tmp_path / "layers.gpkg", (0.2, 0.3, 0.6, 0.9))
    polygons = f"{tmp_path / 'layers.gpkg'}|layername=area"
    west, south, east, north = box.bounds
    inner = area(pair, tmp_path / "looked-at.gpkg", (0.1, 0.1, 0.9, 0.9))
    whole = find_changes(pair, tmp_path / "whole")
    scored = {
        **{key: whole["parameters"][key] for key in ("BEFORE", "AFTER")},
        "LABELS": f"{tmp_path / 'whole' / 'changes.gpkg'}|layername=changes",
        "SCORES": str(tmp_path / "scores.json"),
        "GALLERY": str(tmp_path / "worst.html"),
    }
    small = {**scored, "AREA": f"{tmp_path / 'looked-at.gpkg'}|layername=area"}
    found = qgis(
        tmp_path,
        settings_of(interpreter, model),
        whole,
        find_changes(pair, tmp_path / "polygons", CLIP=polygons),
        find_changes(pair, tmp_path / "extent", EXTENT=f"{west},{east},{south},{north} [EPSG:32631]"),
        {"algorithm": "schanger-edge:scorearea", "parameters": scored},
        {"algorithm": "schanger-edge:scorearea", "parameters": small},
    )
    *mapped, score, too_small = found["runs"]
    assert all(run["good"] for run in mapped), mapped
    for name in ("polygons", "extent"):
        assert known_area(tmp_path / name) == pytest.approx(box.area, rel=0.05)
    assert score["good"], score["said"]
    written = json.loads((tmp_path / "scores.json").read_text())
    assert score["results"]["F1"] == written["f1"] > 0.9  # it is scored against its own map
    assert written["tiles"] >= 1
    assert (tmp_path / "worst.html").stat().st_size > 1000
    assert said(score, "warning") == written["warnings"]
    assert inner.area < 256**2 * 0.25 * 4
    (error,) = said(too_small, "error")
    assert "4 outside the area" in error


def test_qgis_process(pair: SyntheticPair, interpreter: Path, tmp_path: Path) -> None:
    """The plugin from its ZIP file, with the bundled model, from a terminal, with the settings of the dialog."""
    packed = load_script(ROOT / "qgis" / "build.py", "qgis_build").build(tmp_path)
    install_plugin(tmp_path, packed, settings_of(interpreter))
    program = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
    assert program is not None
    surroundings = {"HOME": str(tmp_path), "QT_QPA_PLATFORM": "offscreen"}

    def process(*words: str) -> subprocess.CompletedProcess[str]:
        env, there = {**CLEAN, **surroundings}, pair.before.parent
        return subprocess.run([program, *words], env=env, cwd=there, capture_output=True, text=True, check=False)

    assert process("plugins", "enable", "schanger_edge_qgis").returncode == 0
    output = os.path.relpath(tmp_path / "out", pair.before.parent)
    given = ["run", "schanger-edge:findchanges", "--", "BEFORE=before.tif", "AFTER=after.tif", f"OUTPUT={output}"]
    done = process(*given)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert f"COUNT:\t{summary['polygons']}" in done.stdout
    assert summary["polygons"] > 10
    refused = process(*given, "OPTIONS=--bands 7,8,9")
    assert refused.returncode != 0
    assert "--bands" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
