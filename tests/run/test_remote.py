"""Images behind a server or in an archive: the same results as from the disk, only what is needed, clear failures."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from helpers import Ground, command_line, write_tiff
from range_server import DRIP, ENDLESS, Store, serving
from rasterio.windows import Window as Part

from schanger_edge import detect
from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene import open_pair
from schanger_edge.scene.remote import SETTINGS, is_remote, public_name, public_text, reading, resolved_name

ORIGIN = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
HALF = ORIGIN @ Affine.translation(3.5, 2.5)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    (tmp_path / "store").mkdir()
    with serving(tmp_path / "store") as opened:
        yield opened


def save(path: Path, data: np.ndarray, transform: Affine = ORIGIN, **options: Any) -> Path:
    """A COG of small blocks, unless the options say something else."""
    return write_tiff(path, data, transform=transform, **{"driver": "COG", **(options or {"blocksize": 128})})


@pytest.fixture
def pair(store: Store, ground: Ground) -> tuple[Path, Path]:
    """A small pair on two grids, the second date with a mask beside it."""
    before = save(store.folder / "a.tif", ground(400, 420, 1))
    tiled = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128}
    after = save(store.folder / "b.tif", (ground(400, 420, 2) * 9.0).astype(np.uint16), HALF, **tiled)
    mask = np.full((400, 420), 255, np.uint8)
    mask[100:200, 50:150] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(after, "r+") as dataset:
        dataset.write_mask(mask)
    return before, after


def maps(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("change.tif", "probability.tif")]


def run(*arguments: Any, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schanger_edge", "run", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)


def test_the_same_results_as_from_the_disk(store: Store, pair: Any, model: Path, tmp_path: Path) -> None:
    local = detect(*pair, tmp_path / "local", model=model)
    remote = detect(*(store.url(path.name) for path in pair), tmp_path / "remote", model=model)
    assert maps(remote.folder) == maps(local.folder)
    assert local.valid < 400 * 420 - 100 * 100 + 600  # the mask beside the file counts
    assert store.sent("b.tif.msk") > 0


def area(path: Path, *boxes: tuple[float, float, float, float]) -> Path:
    """A vector file of boxes in the pixels of `ORIGIN`: (left, top, right, bottom)."""
    shapes = [shapely.box(*(ORIGIN @ box[:2]), *(ORIGIN @ box[2:])) for box in boxes]
    pyogrio.raw.write(path, shapely.to_wkb(np.array(shapes)), [], [], geometry_type="Polygon", crs="EPSG:32631")
    return path


def with_keys(url: str) -> str:
    return url.replace("://", "://me:s3cret@") + "?sig=s3cret"


def test_keys_in_an_address_are_not_passed_on(store: Store, pair: Any, model: Path, tmp_path: Path) -> None:
    urls = [with_keys(store.url(path.name)) for path in pair]
    clip = with_keys(store.url(area(store.folder / "aoi.fgb", (20, 20, 380, 380)).name))
    options: list[Any] = ["--stac", "--dates", "2019-05-01,2021-06-03", "--valid-mask-before", urls[0], "--clip", clip]
    done = run(*urls, "-o", tmp_path / "out", "--model", model, "--stretch", "none", "--also", "geoparquet", *options)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["inputs"]["before"]["path"] == store.url("a.tif")
    assert summary["inputs"]["before"]["valid_masks"] == [store.url("a.tif")]
    assert summary["options"]["clip"] == store.url("aoi.fgb")
    assert f"{store.url('b.tif')} has uint16 values" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    for path in (tmp_path / "out").iterdir():
        assert b"s3cret" not in path.read_bytes()


@pytest.mark.parametrize(
    ("before", "after", "clip", "sentence"),
    [
        ("a.tif", "none.tif", None, "cannot be fetched as an image"),
        ("a.tif", "notes.txt", None, "cannot be fetched as an image"),
        ("zip+none.zip", "a.tif", None, "cannot be fetched as an image"),
        ("a.tif", "bare.tif", None, "has no georeference"),
        ("a.tif", "far.tif", None, "do not overlap"),
        ("a.tif", "complex.tif", None, "has pixels of type complex64"),
        ("empty.tif", "a.tif", None, "has no valid pixel"),
        ("a.tif", "a.tif", "none.fgb", "cannot be read as a vector file"),
        ("a.tif", "a.tif", "notes.txt", "cannot be read as a vector file"),
        ("a.tif", "a.tif", "nothing.geojson", "has no polygons"),
        ("a.tif", "a.tif", "far.fgb", "has no polygon within the images"),
        ("bare.tif", "bare.tif", "far.fgb", "cannot be placed on images"),
    ],
)
def test_no_sentence_holds_a_key(store: Store, before: str, after: str, clip: str | None, sentence: str) -> None:
    image = np.full((3, 40, 40), 9, np.uint8)
    save(store.folder / "a.tif", image)
    save(store.folder / "bare.tif", image, Affine.identity(), driver="PNG", crs=None)
    save(store.folder / "far.tif", image, ORIGIN @ Affine.translation(900, 0))
    save(store.folder / "complex.tif", image.astype(np.complex64), driver="GTiff")
    save(store.folder / "empty.tif", np.zeros((3, 40, 40), np.uint16), driver="GTiff", nodata=0)
    area(store.folder / "far.fgb", (900, 900, 950, 950))
    (store.folder / "notes.txt").write_text("no image, no polygons")
    (store.folder / "nothing.geojson").write_text('{"type": "FeatureCollection", "features": []}')

    def url(name: str) -> str:
        in_archive, _, file = name.rpartition("+")
        return f"{in_archive}+{with_keys(store.url(file))}!a.tif" if in_archive else with_keys(store.url(file))

    with pytest.raises(SceneError, match=sentence) as caught:
        open_pair(url(before), url(after), clip=None if clip is None else url(clip))
    assert "s3cret" not in str(caught.value)
    assert str(store.port) in str(caught.value)  # it is still told which one


def test_no_sentence_on_a_valid_mask_holds_a_key(store: Store, pair: Any) -> None:
    save(store.folder / "other.tif", np.ones((1, 9, 9), np.uint8), Affine.identity(), driver="PNG", crs=None)
    with pytest.raises(SceneError, match=r"the valid mask other\.tif has no georeference") as caught:
        open_pair(*pair, valid_masks_before=with_keys(store.url("other.tif")))
    assert "s3cret" not in str(caught.value)


def test_an_image_that_names_an_address_with_keys(store: Store, pair: Any, tmp_path: Path) -> None:
    """A VRT on the disk whose source lies behind a URL."""
    rasterio.shutil.copy(pair[0], tmp_path / "a.vrt", driver="VRT")
    text = (tmp_path / "a.vrt").read_text().replace('relativeToVRT="1"', 'relativeToVRT="0"')
    (tmp_path / "a.vrt").write_text(text.replace("store/a.tif", "/vsicurl/" + with_keys(store.url("none.tif"))))
    with open_pair(tmp_path / "a.vrt", pair[1]) as opened, pytest.raises(SceneError, match="cannot be read") as caught:
        opened.read(opened.grid.window)
    assert "s3cret" not in str(caught.value)


def test_a_clipped_run_fetches_what_it_needs(
    store: Store, ground: Ground, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schanger_edge.scene.values.SAMPLE_SIDE", 256)  # as 1024 for a scene of 8192
    side = 2048
    image = np.tile(ground(512, 512)[:1], (4, 4))
    paths = [
        save(store.folder / f"{name}.tif", np.roll(image, 9 * n), compress="none", blocksize=128)
        for n, name in enumerate("ab")
    ]
    area(tmp_path / "aoi.gpkg", (side / 2, side / 2, side / 2 + 120, side / 2 + 120))
    options: dict[str, Any] = {"model": model, "clip": tmp_path / "aoi.gpkg", "max_offset": np.inf}
    local = detect(*paths, tmp_path / "local", **options)
    remote = detect(*[store.url(path.name) for path in paths], tmp_path / "remote", **options)
    assert maps(remote.folder) == maps(local.folder)
    for path in paths:
        assert 0 < store.sent(path.name) < 0.12 * path.stat().st_size


def test_unwritten_blocks_and_stale_overviews_are_found_behind_an_address(store: Store, ground: Ground) -> None:
    tiled: Any = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    image = ground(1200, 1200).astype(np.uint16) * 9
    save(store.folder / "whole.tif", image, ORIGIN, **tiled)
    with (
        rasterio.open(store.folder / "whole.tif") as file,
        rasterio.open(store.folder / "part.tif", "w", **file.profile, sparse_ok=True) as part,
    ):
        part.write(image[:, :512], window=Part(0, 0, 1200, 512))
    stale = save(store.folder / "stale.tif", np.full_like(image, 60_000), ORIGIN, **tiled)
    with rasterio.open(stale, "r+") as file:
        file.build_overviews([2, 4])
        file.write(image)
    with open_pair(store.url("whole.tif"), store.url("part.tif")) as pair:
        assert not pair.read(Window(0, 1000, 50, 50)).valid.any()
        assert [warning for warning in pair.warnings if warning.startswith("60.0% of the blocks of http")]
    with open_pair(store.url("whole.tif"), store.url("stale.tif")) as pair:
        assert [warning for warning in pair.warnings if warning.startswith("the overviews of http")]


def test_what_is_not_there(store: Store, pair: Any, model: Path, tmp_path: Path) -> None:
    for missing, reason in ((store.url("none.tif"), "404"), ("http://127.0.0.1:9/a.tif", "connect")):
        done = command_line("run", store.url("a.tif"), missing, "-o", tmp_path / "out", "--model", model)
        assert done.returncode == 2
        assert f"error: {missing} cannot be fetched as an image (" in done.stderr
        assert reason in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_a_server_that_leaves_in_mid_run(store: Store, ground: Ground, model: Path, tmp_path: Path) -> None:
    paths = [save(store.folder / f"{name}.tif", ground(1200, 700, n)) for n, name in enumerate("ab")]
    urls = [store.url(path.name) for path in paths]
    command = [*urls, "-o", tmp_path / "out", "--model", model, "--max-offset", "inf"]
    store.fail_after(sum(path.stat().st_size for path in paths) * 3 // 4)
    done = run(*command)
    assert done.returncode == 2
    assert "cannot be fetched as an image (" in done.stderr
    assert "Traceback" not in done.stderr
    assert "done: repeat the command with --resume to continue" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".schanger-edge.unfinished"]
    store.fail_after(None)
    kept = paths[1].read_bytes()
    save(paths[1], ground(1200, 700, 5))
    other = run(*command, "--resume")
    assert other.returncode == 2
    assert "after, files, sampled pixels differs" in other.stderr
    paths[1].write_bytes(kept)
    assert run(*command, "--resume").returncode == 0
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["tiles"]["taken_over"] > 0
    assert maps(tmp_path / "out") == maps(detect(*paths, tmp_path / "local", model=model, max_offset=np.inf).folder)


def test_forms_of_a_path(store: Store, pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = pair
    archive = store.folder / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(before, "in/a.tif")
    save(store.folder / "bucket" / "a.tif", rasterio.open(before).read())
    monkeypatch.setenv("AWS_S3_ENDPOINT", f"127.0.0.1:{store.port}")
    for name, value in (("HTTPS", "NO"), ("VIRTUAL_HOSTING", "FALSE"), ("NO_SIGN_REQUEST", "YES")):
        monkeypatch.setenv(f"AWS_{name}", value)
    forms = [
        f"/vsicurl/{store.url('a.tif')}", f"/vsizip/{archive}/in/a.tif", f"zip://{archive}!in/a.tif",
        f"/vsizip/vsicurl/{store.url('all.zip')}/in/a.tif", f"zip+{store.url('all.zip')}!in/a.tif",
        "s3://bucket/a.tif", "/vsis3/bucket/a.tif",
    ]  # fmt: skip
    with open_pair(before, before) as opened:
        expected = opened.read(opened.grid.window)
        assert list(opened.identity()["before"]["files"]) == [str(before)]
    digests = set()
    for form in forms:
        with open_pair(before, form) as opened:
            tile = opened.read(opened.grid.window)
            assert np.array_equal(tile.after, expected.after), form
            assert tile.valid.all()
            (digest,) = opened.identity()["after"]["files"].items()
            digests.add(digest)
    assert len(digests) == 1
    assert digests.pop()[0] == "sampled pixels"


@pytest.mark.parametrize("form", ["/vsizip/{}/none.tif", "zip://{}!none.tif", "/vsizip//none.zip/a.tif"])
def test_archives_without_the_file(store: Store, pair: Any, form: str) -> None:
    with zipfile.ZipFile(store.folder / "all.zip", "w") as file:
        file.write(pair[0], "a.tif")
    with pytest.raises(SceneError, match="cannot be opened as an image") as caught:
        open_pair(pair[0], form.format(store.folder / "all.zip"))
    assert "\n" not in str(caught.value)


def test_names() -> None:
    remote = [
        "https://x.org/a.tif", "s3://b/a.tif", "zip+https://x.org/a.zip!a.tif", "/vsicurl/https://x.org/a.tif",
        "/vsizip/vsicurl/https://x.org/a.zip/a.tif", "/vsicurl?url=https://x.org/a.tif", "/vsis3/b/a.tif",
    ]  # fmt: skip
    local = ["a.tif", "/data/a.tif", "C:\\a.tif", "file:///a.tif", "/vsizip//data/a.zip/a.tif", "zip:///a.zip!a.tif"]
    assert [is_remote(path) for path in remote] == [True] * len(remote)
    assert [is_remote(path) for path in local] == [False] * len(local)
    assert public_name("https://me:secret@x.org/a.tif?key=hidden") == "https://x.org/a.tif"
    assert public_name("HTTPS://me:s@cret@x.org/a.tif?key=hidden") == "HTTPS://x.org/a.tif"
    assert public_name("vrt://https://me:secret@x.org/a.tif") == "vrt://https://x.org/a.tif"
    given = "/vsicurl?max_retry=1&url=https%3A%2F%2Fme:s@x.org%2Fa.tif%3Fkey=1"
    assert public_name(given) == "/vsicurl?url=https://x.org/a.tif"
    assert public_name("/data/why?.tif") == "/data/why?.tif"
    assert resolved_name("https://me:secret@x.org/a.tif?key=hidden") == "https://x.org/a.tif"
    said = "'/vsicurl/https://me:secret@x.org/a.zip?key=hidden/a.tif' is none. Why? (s3://b/k?key=hidden)."
    assert public_text(said) == "'/vsicurl/https://x.org/a.zip' is none. Why? (s3://b/k)."


def test_what_cannot_be_fetched_is_told_without_keys() -> None:
    address = "/vsicurl/http://me:secret@127.0.0.1:9/a.tif"
    with rasterio.Env(GDAL_HTTP_MAX_RETRY="0"), pytest.raises(SceneError, match="cannot be fetched") as caught:
        open_pair(address, address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("form", ["{}", "/vsicurl/{}", "/vsicurl?max_retry=1&url={}"])
def test_a_server_that_never_ends_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """GDAL would ask it again for each of its drivers."""
    (store.folder / DRIP).write_bytes(bytes(100))
    monkeypatch.setitem(SETTINGS, "GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setattr("schanger_edge.scene.opening.PATIENCE", 1)
    address, began = form.format(store.url(DRIP)), time.monotonic()
    with pytest.raises(SceneError, match=r"drip\.tif cannot be fetched as an image .*sent nothing that can be used in"):
        open_pair(address, address)
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("form", ["{}", "/vsicurl/{}", "/vsicurl?max_retry=1&url={}"])
@pytest.mark.parametrize("name", [ENDLESS, f"whole/{ENDLESS}"])
def test_what_has_no_end_fills_no_memory(store: Store, pair: Any, form: str, name: str) -> None:
    """GDAL would take all that comes, a gigabyte each second from this server."""
    (store.folder / "whole").mkdir()
    (store.folder / name).touch()
    address, began, used = form.format(store.url(name)), time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(SceneError, match=r"where it is asked for a part: download the image"):
        open_pair(*pair, valid_masks_before=address)
    with pytest.raises(SceneError, match=r"where it is asked for a part: download the vector file"):
        detect(*pair, store.folder / "out", clip=address)
    assert time.monotonic() - began < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used.ru_maxrss < 100_000


def test_a_server_that_sends_whole_files_only(store: Store, tmp_path: Path) -> None:
    """Small ones are read; of large ones the sentence says what to do, not that they are no images."""
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    small, large = np.full((3, 90, 90), 7, np.uint8), np.full((3, 300, 300), 7, np.uint8)
    save(tmp_path / "small.tif", small, driver="GTiff")
    save(tmp_path / "large.tif", large, driver="GTiff")
    with subprocess.Popen([sys.executable, "-u", *command[1:]], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().split(" port ")[1].split()[0]
        try:
            with open_pair(*[f"http://127.0.0.1:{port}/small.tif"] * 2) as opened:
                assert np.array_equal(opened.read(opened.grid.window).before, small)
            with pytest.raises(SceneError, match=r"large\.tif sends all of a file.*download the image"):
                open_pair(*[f"http://127.0.0.1:{port}/large.tif"] * 2)
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("variable", "value", "cause"),
    [
        ("https_proxy", "socks5h://127.0.0.1:9", "via 127.0.0.1"),
        ("https_proxy", "bogus://127.0.0.1:9", "Unsupported proxy scheme"),
        ("GDAL_CURL_CA_BUNDLE", "/nowhere/ca.pem", "error setting certificate file: /nowhere/ca.pem"),
    ],
)
def test_a_proxy_or_certificates_that_are_not_there(variable: str, value: str, cause: str) -> None:
    """In a process of its own: GDAL reads the environment once. Certificates are read when somebody answers."""
    env = {name: text for name, text in os.environ.items() if name.lower() not in ("no_proxy", "https_proxy")}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"https://127.0.0.1:{listening.getsockname()[1]}/a.tif"
        found = run(address, address, "-o", "out", env=env | {variable: value})
    assert found.returncode == 2
    said = " ".join(found.stderr.split())
    assert "cannot be fetched as an image" in said
    assert cause in said


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    with reading("https://x.org/a.tif"):
        options = rasterio.env.getenv()
    assert "GDAL_HTTP_MAX_RETRY" not in options
    assert options["GDAL_DISABLE_READDIR_ON_OPEN"] == SETTINGS["GDAL_DISABLE_READDIR_ON_OPEN"]
