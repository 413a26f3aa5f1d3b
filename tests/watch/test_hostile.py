"""An inbox into which anybody may put anything: the one file is put aside or left alone, and the watch goes on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rasterio.shutil
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.errors import SceneError
from schanger_edge.products import SUMMARY
from schanger_edge.scene import open_pair

Drop = Callable[..., Path]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="names and links of POSIX")


@pytest.mark.parametrize("pair_by", ["footprint", "name"])
def test_a_result_whose_name_looks_like_a_leftover_stays(station: Any, drop: Drop, pair_by: str) -> None:
    """The first scene's name ended in what results once got that were being removed."""
    drop("a_20240501.removed.tif")
    drop("a_20240502.tif")
    for _ in range(3):
        station.once(pair_by="footprint")
        assert station.results == ["a_20240502__a_20240501.removed"]
    left = station.output / "results" / ".schanger-edge.removed.a"
    left.mkdir()
    station.once(pair_by=pair_by)
    assert station.results == ["a_20240502__a_20240501.removed"]


def test_names_times_and_links_of_any_kind(station: Any, drop: Drop, pair: str) -> None:
    long = "x" * 250 + ".tif"
    (station.inbox / long).write_text("no image")
    (station.inbox / (long + ".w")[-255:]).write_text("beside it")
    late = drop("n.tif", place=3)
    os.utime(late, (9_300_000_000, 9_300_000_000))
    (station.inbox / "loop.tif").symlink_to("loop.tif")
    os.mkfifo(station.inbox / "pipe.tif")
    found = station.once()
    assert station.results == [pair]
    assert found.counts["quarantined"] == 2
    assert "lies beyond the year 2262" in station.reason("n.tif")
    aside = {path.name for path in (station.output / "quarantine").iterdir()}
    assert any(name.startswith("x" * 200) and name.endswith(".tif") for name in aside)
    assert any("loop.tif cannot be read" in line for line in station.reported)
    assert {path.name for path in station.inbox.iterdir()} >= {"loop.tif", "pipe.tif"}
    assert not (station.inbox / long).exists()


def test_a_folder_that_cannot_be_listed(station: Any, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may list all, so the system's refusal is played."""
    private, listed = station.inbox / "private", os.scandir
    private.mkdir()

    def refuse(folder: Any) -> Any:
        if str(folder) == str(private):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    station.once()
    assert station.results == [pair]
    assert [line for line in station.reported if "private" in line] == [
        "private cannot be read (Permission denied): it is left alone."
    ]


def test_names_forge_neither_lines_of_the_log_nor_options_of_the_hook(station: Any, drop: Drop, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\nprintf '%s' \"$1\" > {tmp_path}/name\n")
    hook.chmod(0o755)
    drop("--force\npublished \x1b[31m_20240501.tif")
    drop("--force\npublished \x1b[31m_20240502.tif")
    (station.inbox / "a\nquarantined b.tif").write_text("no image")
    station.once(hook=[str(hook), "{name}"])
    (name,) = station.results
    assert (tmp_path / "name").read_text() == name
    assert name.startswith("_-force_published")
    assert name.isprintable()
    assert all(line.isprintable() for line in station.reported)
    shown = CliRunner().invoke(app, ["status", str(station.output)])
    assert "\nquarantined b" not in shown.stdout
    assert "\x1b" not in shown.stdout


def test_a_pair_that_overlaps_too_little_is_told(station: Any, drop: Drop) -> None:
    """The second scene lies 33 of 64 pixels further east."""
    drop("a_20240501.tif")
    drop("b_20240502.tif", place=0.0165)
    found = station.once()
    assert station.results == []
    (told,) = [line for line in station.reported if "not compared" in line]
    assert told == (
        "b_20240502.tif is not compared: a_20240501.tif, the earlier scene that overlaps it most, has 48 % of the "
        "smaller one in common, and --min-overlap asks for 50%."
    )
    assert [error["what"] for error in found.errors] == ["b_20240502.tif"]
    found = station.once(min_overlap=0.4)
    assert station.results == ["b_20240502__a_20240501"]
    assert found.errors == []


def test_leftovers_of_a_result_that_was_being_removed_go(station: Any, pair: str) -> None:
    station.once()
    shutil.move(station.output / "results" / pair, station.output / "results" / f".schanger-edge.removed.{pair}")
    station.once()
    assert not any((station.output / "results").glob(f".schanger-edge.*/{SUMMARY}"))


def test_files_that_lead_to_others_are_not_followed(
    station: Any, drop: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A description under an image's name, beside an image, or inside it."""
    secret = tmp_path / "secret.tif"
    shutil.move(drop("secret.tif"), secret)
    rasterio.shutil.copy(secret, station.inbox / "vrt_20240501.tif", driver="VRT")
    for name in ("ovr", "aux", "tag"):
        path = drop(f"{name}_20240501.tif", place=5 + len(name))
        if name == "ovr":
            rasterio.shutil.copy(secret, f"{path}.ovr", driver="VRT")
        elif name == "aux":
            item = f'<MDI key="OVERVIEW_FILE">{secret}</MDI>'
            Path(f"{path}.aux.xml").write_text(
                f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'
            )
        else:
            with rasterio.open(path, "r+") as dataset:
                dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(secret))
    found = station.once(run={"stretch": "percentiles"})
    assert found.counts["quarantined"] == 4
    assert "cannot be opened as an image of the formats GTiff, PNG" in station.reason("vrt_20240501.tif")
    assert "beside it that leads to other files" in station.reason("ovr_20240501.tif")
    shutil.move(station.output / "quarantine" / "vrt_20240501.tif", station.inbox / "vrt_20240501.tif")
    os.utime(station.inbox / "vrt_20240501.tif")  # it is sent again
    found = station.once(run={"formats": ("GTiff", "VRT")})
    assert found.counts["ready"] == 1


def test_bombs_and_pipes_are_refused_at_once(station: Any, drop: Drop, tmp_path: Path) -> None:
    side = 60_000
    bomb = station.inbox / "tile.tif"
    layout = {"driver": "GTiff", "count": 3, "width": side, "height": side, "dtype": "uint8", "sparse_ok": True}
    with rasterio.open(bomb, "w", **layout, tiled=True, blockxsize=side - side % 16, blockysize=side - side % 16):
        pass
    source = "<SimpleSource><SourceFilename>a.tif</SourceFilename></SimpleSource>"
    band = f'<VRTRasterBand dataType="Byte" band="1">{source}</VRTRasterBand>'
    wide = tmp_path / "wide.vrt"
    wide.write_text(f'<VRTDataset rasterXSize="{2**31 - 1}" rasterYSize="{2**31 - 1}">{band}</VRTDataset>')
    os.mkfifo(tmp_path / "pipe.tif")
    for path, sentence in (
        (bomb, "has blocks of 60000 x 60000 pixels, which take"),
        (wide, "says it has 2147483647 x 2147483647 pixels"),
        (tmp_path / "pipe.tif", "is no file but a device or a pipe"),
    ):
        with pytest.raises(SceneError, match=sentence):
            open_pair(path, path)
