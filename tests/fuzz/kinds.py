"""Kinds of mutated input: each puts one into an empty folder and gives the command that meets it."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from fuzz.bases import VECTORS, watch_once
from fuzz.mutate import NUMBERS, WORDS, awkward_json, mutate_bytes, mutate_json, mutate_text

READING: tuple[tuple[str, ...], ...] = (
    (), (), ("--match",), ("--align",), ("--nodata", "0"), ("--bands", "1,1,1"), ("--stretch", "none"),
    ("--format", "GTiff"), ("--format", "VRT", "--format", "GTiff"), ("--gsd", "0.7"), ("--grid", "after"), ("--stac",),
)  # fmt: skip
"""Options of runs, some of which look at more of a file."""


class Place(NamedTuple):
    """Where an input is made.

    Attributes:
        base: the valid inputs.
        folder: an empty folder for this one; results go to `out` in it.
        rng: decides everything.
    """

    base: Path
    folder: Path
    rng: Random

    def run(self, before: Path, after: Path, *more: str, model: Path | None = None) -> list[str]:
        """A run of two images into `out`."""
        command = ["run", str(before), str(after), "-o", str(self.folder / "out"), "--device", "cpu", "--threads", "1"]
        return [*command, "--model", str(model or self.base / "m.onnx"), *more]

    def alter(self, path: Path, mutate: Callable[[bytes], bytes] | None = None) -> None:
        """Replace a file by a mutation of it."""
        content = path.read_bytes()
        path.write_bytes(mutate(content) if mutate else mutate_bytes(content, self.rng))

    def alter_text(self, path: Path) -> None:
        """Replace a text by a mutation of it."""
        self.alter(path, lambda content: mutate_text(content.decode("utf-8", "replace"), self.rng))

    def choose(self, paths: Iterable[Path]) -> Path:
        """One of these files."""
        return self.rng.choice(sorted(paths))


def image(place: Place) -> list[str]:
    """A GeoTIFF of any compression, a PNG, JPEG, JPEG 2000 or IMG."""
    source = place.choose((place.base / "images").glob("a.*"))
    before, after = (place.folder / f"{letter}{source.suffix}" for letter in "ab")
    shutil.copy(source, before)
    shutil.copy(source.with_name(f"b{source.name[1:]}"), after)
    place.alter(place.rng.choice((before, after)))
    if source.name == "a.png.png" or source.suffix == ".jpg":  # images without a place
        return place.run(before, after)
    mask = ["--valid-mask-after", str(before)] if place.rng.random() < 0.1 else place.rng.choice(READING)
    return place.run(before, after, *mask)


def vrt(place: Place) -> list[str]:
    """Descriptions of images: plain, warped, and of each other."""
    shutil.copytree(place.base / "images", place.folder / "images")
    shutil.copytree(place.base / "vrts", place.folder / "vrts")
    before = place.choose((place.folder / "vrts").glob("a.*.vrt"))
    after = place.folder / "vrts" / "b.plain.vrt"
    place.alter_text(before)
    if place.rng.random() < 0.2:  # of nothing but itself
        before.write_bytes(before.read_bytes().replace(b"../images/a.deflate.tif", before.name.encode()))
    return place.run(before, after, *place.rng.choice(READING))


def model(place: Place) -> list[str]:
    """An ONNX file."""
    path = place.folder / "m.onnx"
    shutil.copy(place.base / "m.onnx", path)
    place.alter(path)
    return _with_model(place, path)


def card(place: Place) -> list[str]:
    """The card in a sound ONNX file."""
    import onnx

    found = onnx.load(place.base / "m.onnx")
    (entry,) = found.metadata_props
    content = awkward_json(json.loads(entry.value), place.rng)
    entry.value = content.decode("utf-8", "replace")
    path = place.folder / "m.onnx"
    path.write_bytes(found.SerializeToString())
    return _with_model(place, path)


def _with_model(place: Place, path: Path) -> list[str]:
    if place.rng.random() < 0.2:
        return ["info", str(path)]
    images = place.base / "images"
    return place.run(images / "a.deflate.tif", images / "b.deflate.tif", model=path)


def sidecar(place: Place) -> list[str]:
    """What lies beside an image or a plan."""
    suffix = place.rng.choice((".aux.xml", ".tif.aux.xml", ".tfw", ".prj", ".ovr", ".msk", ".plan.json", ".plan.json"))
    if suffix == ".plan.json":
        return _plan(place)
    images = place.base / "images"
    before, after = place.folder / "a.tif", place.folder / "b.tif"
    shutil.copy(images / "a.deflate.tif", before)
    shutil.copy(images / "b.deflate.tif", after)
    beside = before.with_suffix(suffix) if suffix in (".tfw", ".prj") else before.with_name(f"a.tif{suffix}")
    if suffix == ".tif.aux.xml":
        beside = before.with_name("a.tif.aux.xml")
    text = {".tfw": "0.5\n0\n0\n-0.5\n500000.25\n4649999.75\n", ".prj": 'PROJCS["x",GEOGCS["y",DATUM["z"]]]'}
    if suffix in (".ovr", ".msk"):
        shutil.copy(images / "a.deflate.tif", beside)
        place.alter(beside)
    else:
        beside.write_text(text.get(suffix, _AUX))
        place.alter_text(beside)
    return place.run(before, after, *place.rng.choice(READING))


_AUX = """<PAMDataset><SRS>EPSG:32631</SRS><GeoTransform>5e5, 0.5, 0, 4.65e6, 0, -0.5</GeoTransform>
<Metadata domain="IMAGERY"><MDI key="ACQUISITIONDATETIME">2024-05-01 10:00:00</MDI></Metadata>
<GCPList Projection="EPSG:4326"><GCP Id="1" Pixel="0" Line="0" X="3" Y="42"/></GCPList>
<PAMRasterBand band="1"><NoDataValue>0</NoDataValue><ColorInterp>Red</ColorInterp><Scale>2</Scale><Offset>1</Offset>
<Histograms><HistItem><HistMin>0</HistMin><BucketCount>2</BucketCount><HistCounts>1|2</HistCounts></HistItem></Histograms>
<Metadata><MDI key="STATISTICS_MINIMUM">0</MDI></Metadata></PAMRasterBand></PAMDataset>"""


def _plan(place: Place) -> list[str]:
    """A sidecar whose digest is right, so that its values are looked at, or any other."""
    from schanger_edge.model.file import read_model
    from schanger_edge.model.plan import Batches, PlanCard, Target, sidecar_of, this_system
    from schanger_edge.model.plan import _digest as digest

    file, plan = read_model(place.base / "m.onnx"), place.folder / "m.plan"
    target = Target("tensorrt", "10.3.0", this_system(), ("8.6",), "GPU")
    own = PlanCard("m.onnx", file.sha256, file.sha256, file.card, target, "strong", (), Batches(1, 2, 4))
    values = json.loads(own.to_json())
    del values["digest"]
    values = mutate_json(values, place.rng)
    content = json.dumps({**values, "digest": digest(values)}).encode()
    if place.rng.random() < 0.3:
        content = mutate_text(content.decode(), place.rng)
    plan.write_bytes(b"a plan")
    sidecar_of(plan).write_bytes(content)
    images = place.base / "images"
    if place.rng.random() < 0.7:
        return ["info", str(plan)]
    return place.run(images / "a.none.tif", images / "b.none.tif", model=plan)


def area(place: Place) -> list[str]:
    """A vector file for --clip."""
    suffix = place.rng.choice(sorted(VECTORS))
    for path in (place.base / "areas").glob("area.*"):
        shutil.copy(path, place.folder)
    path = place.folder / f"area.{suffix}"
    if suffix == "shp":
        place.alter(place.choose(place.folder / f"area.{part}" for part in ("shp", "shx", "dbf", "prj", "cpg")))
    elif suffix in ("geojson", "kml", "gml"):
        place.alter_text(path)
    else:
        place.alter(path)
    images = place.base / "images"
    return place.run(images / "a.deflate.tif", images / "b.deflate.tif", "--clip", str(path))


def table(place: Place) -> list[str]:
    """A list of pairs for batch, as CSV or Parquet, or for `dataset make`."""
    import pyarrow
    import pyarrow.parquet

    images, rng = place.base / "images", place.rng
    names = ["before", "after", "id", "before_date", "after_date", "threshold", "clip", "stretch", "valid_mask_before"]
    row = [str(images / "a.none.tif"), str(images / "b.none.tif"), "p", "2024-05-01", "2024-06-01", "0.5"]
    rows = [[*row, str(place.base / "areas/area.gpkg"), "none", ""], [*row[:2], "q", *[""] * 6]]
    for _ in range(rng.choice((0, 1, 1, 2))):
        changed = rng.choice([names, *rows])
        changed[rng.randrange(len(changed))] = rng.choice((*WORDS, str(rng.choice(NUMBERS))))
    path = place.folder / rng.choice(("pairs.csv", "pairs.csv", "pairs.parquet"))
    if path.suffix == ".csv":
        text = io.StringIO()
        csv.writer(text).writerows([names, *rows])
        path.write_bytes(mutate_text(text.getvalue(), rng) if rng.random() < 0.7 else text.getvalue().encode())
    else:
        unique = [name if names.index(name) == number else f"{name}{number}" for number, name in enumerate(names)]
        columns = [pyarrow.array(column) for column in zip(*rows, strict=True)]
        pyarrow.parquet.write_table(pyarrow.Table.from_arrays(columns, unique), path)
        if rng.random() < 0.7:
            place.alter(path)
    if path.suffix == ".csv" and rng.random() < 0.2:
        path.write_bytes(path.read_bytes().replace(b"id,", b"label,", 1))
        return ["dataset", "make", str(path), "-o", str(place.folder / "made"), "--tile", "32"]
    command = ["batch", str(path), "-o", str(place.folder / "out"), "--retries", "0"]
    return [*command, "--model", str(place.base / "m.onnx"), "--device", "cpu", "--threads", "1"]


def journal(place: Place) -> list[str]:
    """What a stopped run left."""
    for name in ("a.tif", "b.tif", "out"):
        source = place.base / "run" / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, place.folder / name)
    path = place.choose(path for path in (place.folder / "out").rglob("*") if path.is_file())
    if path.suffix == ".json" and place.rng.random() < 0.6:
        place.alter(path, lambda content: awkward_json(json.loads(content), place.rng))
    elif place.rng.random() < 0.1:
        path.unlink()
        path.mkdir()
    else:
        place.alter(path)
    how = place.rng.choice(("--resume", "--resume", "--resume", "--restart"))
    return place.run(place.folder / "a.tif", place.folder / "b.tif", how)


def ledger(place: Place) -> list[str]:
    """What a watch keeps: its SQLite file and the pair.json of a result."""
    for name in ("inbox", "out"):
        shutil.copytree(place.base / "watch" / name, place.folder / name)
    out, rng = place.folder / "out", place.rng
    database = out / "watch.sqlite"
    match rng.randrange(4):
        case 0:
            place.alter(database)
        case 1:
            path = place.choose(path for path in (out / "results").rglob("*") if path.is_file())
            place.alter_text(path) if path.suffix == ".json" else place.alter(path)
        case _:
            _alter_rows(database, rng)
            if rng.random() < 0.3:
                (out / "results").rename(out / "before")
    if rng.random() < 0.3:
        return ["status", str(out), *rng.choice(((), ("--json",)))]
    return watch_once(place.folder, place.base / "m.onnx")


def _alter_rows(database: Path, rng: Random) -> None:
    """Values of the tables, as a foreign program might leave them."""
    with sqlite3.connect(database) as connection:
        for _ in range(rng.choice((1, 1, 3))):
            name = rng.choice(("scenes", "pairs", "service"))
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            value = rng.choice((None, 1.5, b"\xff\0", *[number for number in NUMBERS if number < 2**63], *WORDS))
            try:
                where = f"rowid = {rng.randrange(1, 4)}"
                connection.execute(f"UPDATE {name} SET {rng.choice(columns)} = ? WHERE {where}", (value,))
            except sqlite3.IntegrityError:  # the schema does not allow it
                continue
    connection.close()


def checkpoint(place: Place) -> list[str]:
    """Weights, and what a training goes on from."""
    if place.rng.random() < 0.3:
        shutil.copytree(place.base / "training", place.folder / "training")
        path = place.choose(path for path in (place.folder / "training").iterdir() if path.is_file())
        _alter_checkpoint(place, path)
        return ["train", "-o", str(place.folder / "training"), "--resume", "--device", "cpu", "--threads", "1"]
    path = place.folder / "weights.pth"
    shutil.copy(place.base / "weights.pth", path)
    _alter_checkpoint(place, path)
    return ["export", "--checkpoint", str(path), "-o", str(place.folder / "made.onnx"), "--tile", "64"]


def _alter_checkpoint(place: Place, path: Path) -> None:
    """Bytes of the file, or of one of its members, whose checksum is then right."""
    if path.suffix != ".pth" or place.rng.random() < 0.4:
        place.alter(path)
        return
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickles = [name for name in members if name.endswith(".pkl")]
    name = place.rng.choice(pickles if place.rng.random() < 0.8 else sorted(members))
    members[name] = mutate_bytes(members[name], place.rng)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


KINDS: dict[str, Callable[[Place], list[str]]] = {
    one.__name__: one for one in (image, vrt, model, card, sidecar, area, table, journal, ledger, checkpoint)
}


def altered(kind: str, number: int, seed: int, base: Path, folder: Path) -> list[str]:
    """Make one input, the same each time it is asked for, and give the command that meets it."""
    return KINDS[kind](Place(base, folder, Random(f"{seed} {kind} {number}")))


def complaint(folder: Path) -> Any:
    """What is half-written in the folder of an input after its command; None where all is whole."""
    from schanger_edge.products.register import STANDARD_NAMES

    for found in folder.rglob("*"):
        if found.name.startswith(".schanger-edge.new.") or found.name.endswith(".part"):
            return f"{found} is left"
    for summary in folder.glob("out/**/summary.json"):
        lacking = [name for name in STANDARD_NAMES if not (summary.parent / name).exists()]
        if lacking:
            return f"{summary.parent} lacks {', '.join(lacking)}"
    return None
