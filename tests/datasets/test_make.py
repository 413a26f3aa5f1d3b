"""Training tiles from labelled pairs: true pixels, no ground in two splits, all or nothing, sentences with lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyogrio.raw
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from helpers import MakePair, Tiff, command_line
from rasterio.crs import CRS

from schanger_edge.datasets.make import MadeDataset, make_dataset
from schanger_edge.datasets.splits import WORLD_WIDTH, Ground, deal, repeated_ground
from schanger_edge.datasets.statistics import color_statistics
from schanger_edge.errors import DatasetError, ProductError, SchangerError
from schanger_edge.geo.grid import Grid, Window
from schanger_edge.model.card import normalization_from

UTM = "EPSG:32631"
PLACE = Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
ALL_TRAIN = {"shares": (1, 0, 0)}


def polygons(path: Path, *shapes: Any, crs: str = UTM) -> Path:
    pyogrio.raw.write(
        path, shapely.to_wkb(np.array(shapes, object)), field_data=[], fields=[], driver="GPKG",
        geometry_type="Polygon", crs=crs, layer="changes",
    )  # fmt: skip
    return path


def box(col: float, row: float, col_end: float, row_end: float) -> Any:
    """Pixels of `PLACE` on the ground."""
    (left, top), (right, bottom) = PLACE @ (col, row), PLACE @ (col_end, row_end)
    return shapely.box(left, bottom, right, top)


def table(folder: Path, *rows: Sequence[Any], columns: str = "before,after,label") -> Path:
    path = folder / "pairs.csv"
    path.write_text("\n".join([columns, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def described(made: MadeDataset) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((made.root / "dataset.json").read_text())
    return values


def png(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image if image.ndim == 2 else image[..., ::-1].transpose(2, 0, 1)


@pytest.fixture
def pair(make_pair: MakePair, tmp_path: Path) -> tuple[Path, Path, Path]:
    """150 x 200 pixels, with one square that changed."""
    return *make_pair(150, 200), polygons(tmp_path / "labels.gpkg", box(30, 40, 70, 60))


def test_tiles_hold_the_pixels_of_the_pair(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    before, after, label = pair
    rows = table(tmp_path, [before.name, after.name, label.name])  # paths are relative to the table
    made = make_dataset(rows, tmp_path / "tree", tile=64, **ALL_TRAIN)
    record = described(made)
    assert made.splits["train"].tiles == len(record["tiles"]) == 12  # 4 x 3: the last column and row shift in
    covered, truth = np.zeros((150, 200), bool), np.zeros((150, 200), bool)
    truth[40:60, 30:70] = True
    with rasterio.open(before) as a, rasterio.open(after) as b:
        for tile in record["tiles"]:
            window = Window(*tile["window"])
            at = window.slices_in(Window(0, 0, 200, 150))
            folder = made.root / tile["split"]
            assert (png(folder / "A" / f"{tile['name']}.png") == a.read()[:, at[0], at[1]]).all()
            assert (png(folder / "B" / f"{tile['name']}.png") == b.read()[:, at[0], at[1]]).all()
            assert (png(folder / "label" / f"{tile['name']}.png") == truth[at] * 255).all()
            covered[at] = True
    assert covered.all()
    assert made.splits["train"].change == pytest.approx(sum(t["changed"] for t in record["tiles"]) / (12 * 64 * 64))
    assert made.gsd == pytest.approx(0.5)
    assert record["sources"][0]["label"] == str(label)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []
    assert {"val has no tiles.", "test has no tiles."} <= set(made.warnings)


def test_statistics_are_those_of_the_tree(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    made = make_dataset(table(tmp_path, pair), tmp_path / "tree", tile=32, block=40)
    written = normalization_from(json.loads((made.root / "statistics.json").read_text()))
    again = color_statistics(made.root)
    for date in ("before", "after"):
        for name in ("mean", "std"):
            ours, theirs = getattr(getattr(written, date), name), getattr(getattr(again, date), name)
            assert ours == pytest.approx(theirs, rel=1e-12)
    assert all(counts.tiles for counts in made.splits.values())


def outlines(record: dict[str, Any]) -> dict[str, list[tuple[str, Any]]]:
    """Split -> (source, outline in an equal-area CRS) of its tiles, by another way than the tool's."""
    found: dict[str, list[tuple[str, Any]]] = {"train": [], "val": [], "test": []}
    sources = {source["name"]: source for source in record["sources"]}
    plane = {name: pyproj.Transformer.from_crs(s["crs"], "EPSG:3035", always_xy=True) for name, s in sources.items()}
    for tile in record["tiles"]:
        source, to = sources[tile["source"]], plane[tile["source"]]
        col, row, width, height = tile["window"]
        shape = shapely.segmentize(shapely.box(col, row, col + width, row + height), 2)
        t = Affine(*source["transform"])
        place = lambda x, y, t=t, to=to: to.transform(t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)  # noqa: E731
        found[tile["split"]].append((tile["source"], shapely.transform(shape, place, interleaved=False)))
    return found


@pytest.fixture
def two_pairs(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> Path:
    """Overlapping pairs in two CRSs, the second turned a little by its CRS."""
    a, b = make_tiff("a.tif", ground(260, 260, 1)), make_tiff("b.tif", ground(260, 260, 2))
    x, y = pyproj.Transformer.from_crs(UTM, "EPSG:2154", always_xy=True).transform(500_060, 4_649_960)
    lambert = {"crs": "EPSG:2154", "transform": Affine(0.5, 0, x, 0, -0.5, y)}
    c, d = make_tiff("c.tif", ground(260, 260, 3), **lambert), make_tiff("d.tif", ground(260, 260, 4), **lambert)
    label = polygons(tmp_path / "labels.gpkg", *(box(k, 0, k + 6, 400) for k in range(0, 400, 20)))
    return table(tmp_path, [a, b, label], [c, d, label])


def test_no_ground_is_in_two_splits(two_pairs: Path, tmp_path: Path) -> None:
    made = make_dataset(two_pairs, tmp_path / "tree", tile=32, block=40)
    record = described(made)
    found = outlines(record)
    assert all(found.values())
    assert {source for split in found.values() for source, _ in split} == {"a", "c"}
    assert made.dropped["shared ground"] > 0
    shapes = {split: np.array([shape for _, shape in tiles]) for split, tiles in found.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = shapely.area(shapely.intersection(shapes[one][:, None], shapes[other][None]))
        assert shared.max() <= 0.25 + 1e-6  # one pixel
    for split in ("val", "test"):  # scores count every pixel of a pair once
        source = np.array([source for source, _ in found[split]])
        shared = shapely.area(shapely.intersection(shapes[split][:, None], shapes[split][None]))
        same = (source[:, None] == source) & ~np.eye(source.size, dtype=bool)
        assert shared[same].max() <= 0.25 + 1e-6
    again = make_dataset(two_pairs, tmp_path / "again", tile=32, block=40)
    assert described(again)["tiles"] == record["tiles"]
    other_seed = make_dataset(two_pairs, tmp_path / "other", tile=32, block=40, seed=1)
    assert described(other_seed)["tiles"] != record["tiles"]


def test_a_split_for_a_whole_pair(two_pairs: Path, tmp_path: Path) -> None:
    text = two_pairs.read_text().splitlines()
    two_pairs.write_text("\n".join([f"{text[0]},split,name", f"{text[1]},train,old", f"{text[2]},test,new"]))
    made = make_dataset(two_pairs, tmp_path / "tree", tile=32)
    counted = Counter((tile["source"], tile["split"]) for tile in described(made)["tiles"])
    assert set(counted) == {("old", "train"), ("new", "test")}
    assert counted["new", "test"] == 64  # 8 x 8, without those that shift in
    assert 0 < counted["old", "train"] < 81  # train yields its tiles on the common ground


def test_little_ground_is_cut_into_smaller_blocks(two_pairs: Path, tmp_path: Path) -> None:
    assert make_dataset(two_pairs, tmp_path / "large", tile=16).block == pytest.approx(4 * 16 * 0.5, rel=1e-3)
    two_pairs.write_text("\n".join(two_pairs.read_text().splitlines()[:2]))
    small = make_dataset(two_pairs, tmp_path / "small", tile=64)
    assert small.block == pytest.approx(64 * 0.5, rel=1e-3)
    assert all(counts.tiles for counts in small.splits.values())


def test_what_is_left_out_is_counted(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    image = ground(128, 128, 1)
    image[:, :10, :10] = 0
    a, b = make_tiff("a.tif", image, nodata=0), make_tiff("b.tif", ground(128, 128, 2))
    label = polygons(tmp_path / "labels.gpkg", box(70, 70, 90, 90))
    area = polygons(tmp_path / "area.gpkg", box(0, 0, 64, 128), box(64, 60, 128, 128))  # cuts the upper right tile
    rows = table(tmp_path, [a, b, label, area], columns="before,after,label,area")
    made = make_dataset(rows, tmp_path / "tree", tile=64, **ALL_TRAIN)
    assert made.dropped == {"nodata": 1, "outside the area": 1, "shared ground": 0}
    assert {tuple(tile["window"][:2]) for tile in described(made)["tiles"]} == {(0, 64), (64, 64)}
    most = make_dataset(rows, tmp_path / "most", tile=64, min_valid=0.9, **ALL_TRAIN)
    assert most.splits["train"].tiles == 3
    tile = png(most.root / "train" / "A" / "a_000000_000000.png")
    mean = image[:, (image != 0).any(0)].mean(1)
    assert np.abs(tile[:, :10, :10] - mean[:, None, None]).max() <= 0.51


def test_a_raster_label_in_another_crs(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    a, b = make_tiff("a.tif", ground(128, 128, 1)), make_tiff("b.tif", ground(128, 128, 2))
    truth = np.zeros((128, 128), np.uint8)
    truth[32:96, 40:80] = 1
    same = make_tiff("same.tif", truth[None], nodata=0)  # 0 is no change even where a file calls it nodata
    plain = tmp_path / "plain.png"
    cv2.imwrite(str(plain), truth * 255)
    to = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    (west, _), (_, north) = to.transform(499_990, 4_650_000), to.transform(500_000, 4_650_010)
    fine = Grid(CRS.from_epsg(4326), Affine(1e-6, 0, west, 0, -1e-6, north), 1000, 1000)
    cols, rows = np.meshgrid(np.arange(1000) + 0.5, np.arange(1000) + 0.5)
    x, y = to.transform(*(fine.transform @ (cols.ravel(), rows.ravel())), direction="INVERSE")
    col, row = (np.floor(v).astype(int).reshape(1000, 1000) for v in ~PLACE @ (np.asarray(x), np.asarray(y)))
    values = ((col >= 40) & (col < 80) & (row >= 32) & (row < 96)).astype(np.uint8)
    values[(col < 64) & (row >= 100)] = 9
    degrees = make_tiff("degrees.tif", values[None], crs="EPSG:4326", transform=fine.transform, nodata=9)
    for name, label, tiles in (("same", same, 4), ("plain", plain, 4), ("degrees", degrees, 3)):
        made = make_dataset(table(tmp_path, [a, b, label]), tmp_path / name, tile=64, **ALL_TRAIN)
        record = described(made)["tiles"]
        assert len(record) == tiles  # nodata of a label is unknown ground
        for tile in record:
            at = Window(*tile["window"]).slices_in(Window(0, 0, 128, 128))
            mask = png(made.root / "train" / "label" / f"{tile['name']}.png")
            assert ((mask == 255) != (truth[at] == 1)).mean() < (0.01 if name == "degrees" else 1e-9)


def test_another_scale_and_sixteen_bits(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    image = ground(256, 256, 1).astype(np.uint16) * 8
    a, b = make_tiff("a.tif", image), make_tiff("b.tif", image // 2)
    label = polygons(tmp_path / "labels.gpkg", box(0, 0, 64, 64))
    made = make_dataset(table(tmp_path, [a, b, label]), tmp_path / "tree", tile=64, gsd=1.0, **ALL_TRAIN)
    record = described(made)
    assert made.splits["train"].tiles == 4
    assert made.gsd == pytest.approx(1.0, rel=1e-3)
    first = png(made.root / "train" / "label" / "a_000000_000000.png")
    assert first[:32, :32].all()
    assert np.count_nonzero(first) == 32 * 32
    assert record["sources"][0]["images"]["before"]["stretch"] is not None
    assert png(made.root / "train" / "A" / "a_000000_000000.png").std() > 20


def test_nothing_changed_is_said_aloud(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    empty = polygons(tmp_path / "empty.gpkg")
    made = make_dataset(table(tmp_path, [*pair[:2], empty]), tmp_path / "tree", tile=64, **ALL_TRAIN)
    assert any("line 2" in note and "has no polygons" in note for note in made.warnings)
    assert any("train has no change" in note for note in made.warnings)
    assert made.splits["train"].change == 0


def failures(pair: tuple[Path, Path, Path], make_tiff: Tiff, ground: Ground, folder: Path) -> dict[str, Any]:
    a, b, label = pair
    far = polygons(folder / "far.gpkg", box(9000, 0, 9100, 10))
    plain = make_tiff("plain.tif", ground(150, 200), crs=None)
    small = make_tiff("small.tif", ground(20, 200))
    other = make_tiff("other.tif", np.ones((1, 9, 9), np.uint8), crs=None)
    distant = make_tiff("distant.tif", np.ones((1, 9, 9), np.uint8), transform=Affine(0.5, 0, 9e5, 0, -0.5, 4e6))
    return {
        "missing": ([a, folder / "none.tif", label], "line 3: .*none.tif does not exist"),
        "nothing": ([a, b, ""], "line 3 has no label"),
        "far": ([a, b, far], "line 3: .*far.gpkg has 1 shapes, but none within the images"),
        "text": ([a, b, folder / "pairs.csv"], "line 3: .*pairs.csv cannot be opened"),
        "plain": ([plain, plain, label], "line 3: .*plain.tif has no CRS"),
        "small": ([small, b, label], "line 3: .*small.tif has 200 x 20 pixels, fewer than a tile"),
        "other": ([a, b, other], "line 3: .*other.tif has no CRS"),
        "distant": ([a, b, distant], "line 3: .*distant.tif does not overlap"),
        "area": ([a, b, label, far], "line 3: .*far.gpkg has no polygon within the images"),
        "split": ([a, b, label, "", "dev"], "line 3 has the split 'dev'"),
        "name": ([a, b, label, "", "", "x/y"], "line 3 has the name"),
        "twice": (
            [a, b, label, "", "", "first"],
            "line 3 repeats the name 'first' of an earlier line: each pair needs its own",
        ),
    }


NAMES = ["missing", "nothing", "far", "text", "plain", "small", "other", "distant", "area", "split", "name", "twice"]


@pytest.mark.parametrize("name", NAMES)
def test_a_defect_names_its_line(
    pair: tuple[Path, Path, Path], make_tiff: Tiff, ground: Ground, tmp_path: Path, name: str
) -> None:
    row, sentence = failures(pair, make_tiff, ground, tmp_path)[name]
    rows = table(tmp_path, [*pair, "", "", "first"], row, columns="before,after,label,area,split,name")
    with pytest.raises(DatasetError, match=f"pairs.csv {sentence}"):
        make_dataset(rows, tmp_path / "deep" / "tree", tile=64)
    assert not (tmp_path / "deep").exists()


def test_defects_of_the_table_and_the_options(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    good, out = table(tmp_path, pair), tmp_path / "tree"
    for columns, sentence in (("before,after", "lacks the column label"), ("before,after,label,lable", "'lable'")):
        path = tmp_path / "odd.csv"
        path.write_text(columns + "\n")
        with pytest.raises(DatasetError, match=sentence):
            make_dataset(path, out)
    with pytest.raises(DatasetError, match="lists no pair"):
        make_dataset(table(tmp_path), out)
    with pytest.raises(DatasetError, match=r"none\.csv cannot be read"):
        make_dataset(tmp_path / "none.csv", out)
    good = table(tmp_path, pair)
    wrong: list[dict[str, Any]] = [{"tile": 60}, {"block": 0}, {"shares": (1, 2)}, {"min_valid": 0}, {"seed": -1}]
    for options in wrong:
        with pytest.raises(SchangerError, match=next(iter(options)).replace("_", "-")):
            make_dataset(good, out, **options)
    out.mkdir()
    with pytest.raises(ProductError, match="new folder"):
        make_dataset(good, out, tile=64)
    assert list(out.iterdir()) == []


def test_a_damaged_image_leaves_nothing(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Found while cutting, after tiles were written."""
    content = pair[1].read_bytes()
    pair[1].write_bytes(content[: len(content) // 2])
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=r"line 2: .*b\.tif cannot be (read|opened)"):
        make_dataset(table(tmp_path, pair), tmp_path / "tree", tile=64)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "pairs.csv"])


def test_semicolons_and_names(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    row = f"{pair[0].name};{pair[1].name};{pair[2].name}"
    path.write_bytes(f"\ufeffBefore;After;Label\r\n{row}\r\n;;\r\n{row}\r\n".encode())
    made = make_dataset(path, tmp_path / "tree", tile=64, **ALL_TRAIN)
    assert {tile["source"] for tile in described(made)["tiles"]} == {"a", "a-2"}


def test_blocks_are_dealt_by_quota() -> None:
    shares = {"train": 0.7, "val": 0.15, "test": 0.15}
    rng = np.random.default_rng(0)
    tiles = {(int(k), int(k) % 7): int(rng.integers(1, 17)) for k in range(200)}
    dealt = deal(tiles, shares, 36)
    total = Counter[str]()
    for block, split in dealt.items():
        total[split] += tiles[block]
    for split, share in shares.items():
        assert total[split] / sum(tiles.values()) == pytest.approx(share, abs=0.01)
    assert set(deal({(0, 0): 90, (0, 1): 5, (1, 0): 5}, shares, 1).values()) == set(shares)
    assert deal({(0, 0): 90, (0, 1): 5, (1, 0): 5}, shares, 1)[0, 0] == "train"
    assert deal({(0, 0): 9}, shares, 0) == {(0, 0): "train"}
    assert set(deal(tiles, {"train": 0.0, "val": 1.0, "test": 0.0}, 0).values()) == {"val"}


def test_ground_on_both_sides_of_the_antimeridian() -> None:
    """Fiji: one tile seen from either UTM zone is the same ground."""
    places = []
    for zone in (32760, 32701):
        to = pyproj.Transformer.from_crs("EPSG:4326", f"EPSG:{zone}", always_xy=True)
        x, y = to.transform(180 if zone == 32760 else -180, -17)
        shift = 40 if zone == 32760 else -40  # centres on either side
        grid = Grid(CRS.from_epsg(zone), Affine(1, 0, x - 128 - shift, 0, -1, y + 128), 256, 256)
        places.append(Ground(grid).footprint(grid.window))
    assert places[0].center[0] > 0.49 * WORLD_WIDTH
    assert places[1].center[0] < -0.49 * WORLD_WIDTH
    for place in places:
        assert shapely.area(place.outline) == pytest.approx(2 * 256**2, rel=0.01)  # once at either end
    assert repeated_ground([place.outline for place in places], ["test", "test"], [1.0, 1.0]).tolist() == [False, True]


def test_command(pair: tuple[Path, Path, Path], tmp_path: Path) -> None:
    rows, root = table(tmp_path, pair), tmp_path / "tree"
    done = command_line("dataset", "make", rows, "-o", root, "--tile", 32, "--block", 40, "--shares", "60,20,20")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["split", "tiles", "change"]
    assert [line.split()[0] for line in lines[1:4]] == ["train", "val", "test"]
    assert int(lines[1].split()[1]) == len(list((root / "train" / "A").iterdir()))
    assert lines[4].startswith("dropped: ")
    told = command_line("statistics", root, "-o", tmp_path / "s.json")
    assert told.returncode == 0, told.stderr
    assert json.loads((tmp_path / "s.json").read_text()).keys() == {"before", "after"}
    again = command_line("dataset", "make", rows, "-o", root)
    assert again.returncode == 2
    assert "Traceback" not in again.stderr
    assert "new folder" in again.stderr
    assert command_line("dataset", "make", rows, "-o", tmp_path / "x", "--shares", "most").returncode == 2
