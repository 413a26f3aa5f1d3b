"""write_json: plain JSON from the values a run has."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import filelock
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.vrt import WarpedVRT

from schanger_edge.errors import BusyError, DiskFullError, ModelError, ProductError, raised_by_gdal
from schanger_edge.files import held, locked, reading, replacing, write_json, writing


def test_values_come_back(tmp_path):
    path = tmp_path / "summary.json"
    summary = {
        "count": np.int64(3),
        "share": np.float32(0.5),
        "done": np.bool_(True),
        "scene": Path("a") / "b.tif",
        "list": np.arange(3),
        "more": MappingProxyType({"name": "Zürich", "unknown": None}),
    }
    write_json(path, MappingProxyType(summary))
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {
        "count": 3,
        "share": 0.5,
        "done": True,
        "scene": str(Path("a") / "b.tif"),
        "list": [0, 1, 2],
        "more": {"name": "Zürich", "unknown": None},
    }
    assert "Zürich" in text
    assert len(text.splitlines()) > 6


@pytest.mark.parametrize("value", [float("nan"), np.float32("nan"), float("inf")])
def test_numbers_that_json_cannot_say_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "summary.json", {"a": {"b": [value]}})
    assert not (tmp_path / "summary.json").exists()


def test_other_values_are_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot hold a object"):
        write_json(tmp_path / "summary.json", {"a": object()})


def test_missing_folder(tmp_path):
    with pytest.raises(ProductError, match=r"summary\.json could not be written"):
        write_json(tmp_path / "absent" / "summary.json", {})


@pytest.fixture
def damaged(make_tiff) -> Path:
    """A tiled GeoTIFF whose second block is garbage, and which can be opened."""
    noise = np.random.default_rng(0).integers(0, 255, (1, 64, 64), np.uint8)
    path = make_tiff("damaged.tif", noise, tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_0", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + 500] = bytes(500)
    path.write_bytes(content)
    return path


def test_a_damaged_block_is_one_sentence(tmp_path, damaged):
    """Reading wraps GDAL's error in rasterio's; copying lets it through as it is."""
    with pytest.raises(ProductError) as read, reading(damaged), rasterio.open(damaged) as dataset:
        dataset.read()
    said = rf"{re.escape(str(damaged))} could not be read \(\S.*\): run the detection again\."
    assert re.fullmatch(said, str(read.value))
    target = tmp_path / "copy.tif"
    with pytest.raises(ProductError) as copied, writing(target):
        rasterio.shutil.copy(damaged, target, driver="COG")
    said = (
        rf"{re.escape(str(target))} could not be written \(\S.*IReadBlock failed.*\): "
        r"check the disk or choose another output folder\."
    )
    assert re.fullmatch(said, str(copied.value))


def test_a_truncated_file_is_one_sentence(make_tiff):
    path = make_tiff("a.tif", np.random.default_rng(0).integers(0, 255, (1, 64, 64), np.uint8), compress="deflate")
    path.write_bytes(path.read_bytes()[:2000])
    with (
        pytest.raises(ProductError, match=r"a\.tif could not be read \(.+\): run the detection again\.$"),
        reading(path),
    ):
        rasterio.open(path).read()


def test_a_full_disk_is_one_sentence(small_disk):
    path = small_disk / "a.tif"
    profile = {"driver": "GTiff", "width": 2000, "height": 2000, "count": 1, "dtype": "uint8"}
    with pytest.raises(DiskFullError) as caught, writing(path), rasterio.open(path, "w", **profile) as dataset:
        dataset.write(np.ones((1, 2000, 2000), np.uint8))
    assert str(caught.value) == (
        f"{path} could not be written (No space left on device): free some space there or choose another output folder."
    )


def test_a_file_that_gdal_cannot_write_does_not_appear(tmp_path, damaged):
    target = tmp_path / "copy.tif"
    with (
        pytest.raises(ModelError, match=r"cannot be written .*IReadBlock failed"),
        replacing(target, ModelError) as path,
    ):
        rasterio.shutil.copy(damaged, path, driver="COG")
    assert list(tmp_path.iterdir()) == [damaged]


def test_errors_that_rasterio_does_not_wrap_are_known(make_tiff):
    site = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]')
    with rasterio.open(make_tiff("a.tif", np.zeros((1, 8, 8), np.uint8))) as dataset:
        with pytest.raises(Exception, match="Cannot find coordinate operations") as caught:
            WarpedVRT(dataset, crs=site)
        assert raised_by_gdal(caught.value)
    with pytest.raises(rasterio.errors.CRSError) as unknown:
        CRS.from_epsg(99_999)
    assert raised_by_gdal(unknown.value)


def test_other_errors_keep_their_traceback(tmp_path):
    for block in (writing(tmp_path), reading(tmp_path), replacing(tmp_path / "a", ProductError)):
        with pytest.raises(ZeroDivisionError), block:
            _ = 1 / 0
    assert not raised_by_gdal(ZeroDivisionError())


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
class TestWhatIsNoPlainFileIsWrittenTo:
    def write(self, path):
        with replacing(path, ProductError) as temporary:
            temporary.write_text("new")

    def test_link(self, tmp_path):
        (tmp_path / "there").mkdir()
        (tmp_path / "there" / "a.json").write_text("old")
        (tmp_path / "link.json").symlink_to("there/a.json")
        self.write(tmp_path / "link.json")
        assert (tmp_path / "link.json").is_symlink()
        assert (tmp_path / "there" / "a.json").read_text() == "new"

    def test_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        self.write(tmp_path / "pipe")
        assert os.read(reader, 100) == b"new"
        os.close(reader)
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)

    def test_null(self, tmp_path):
        (tmp_path / "link").symlink_to(os.devnull)
        self.write(tmp_path / "link")
        self.write(Path(os.devnull))
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
        assert os.readlink(tmp_path / "link") == os.devnull

    def test_standard_output_that_is_a_file(self, tmp_path):
        code = (
            "import sys; from pathlib import Path; from schanger_edge.files import *; print('first', flush=True)\n"
            "with replacing(Path('/dev/stdout'), ProductError) as path: path.write_text('new')\nprint(' last')"
        )
        with open(tmp_path / "log", "w") as log:
            subprocess.run([sys.executable, "-c", code], stdout=log, check=True)
        assert (tmp_path / "log").read_text() == "first\nnew last\n"


def test_a_folder_is_held_by_one_and_goes_where_it_stays_empty(tmp_path):
    folder = tmp_path / "new" / "out"
    with held(folder, "x.lock", "busy"):
        with pytest.raises(BusyError, match="busy"), held(folder, "x.lock", "busy"):
            pass
        assert os.listdir(folder) == ["x.lock"]  # whoever was refused has left it alone
    assert not folder.exists()
    with held(folder, "x.lock", "busy"):
        (folder / "kept").touch()
    assert (folder / "kept").exists()


def test_an_empty_folder_that_another_has_taken_meanwhile_stays(tmp_path, monkeypatch):
    others = []

    class Lock(filelock.FileLock):
        def release(self, force=False):
            super().release(force)
            if not others:  # at once it is another's
                others.append(None)
                others[0] = locked(tmp_path / "out" / "x.lock", "busy")

    monkeypatch.setattr(filelock, "FileLock", Lock)
    with held(tmp_path / "out", "x.lock", "busy"):
        pass
    assert (tmp_path / "out" / "x.lock").exists()
    with pytest.raises(BusyError, match="busy"):
        locked(tmp_path / "out" / "x.lock", "busy")
    others[0].release()
