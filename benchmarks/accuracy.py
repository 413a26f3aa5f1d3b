"""Scores of models on ground they never saw, as it is and under other light, and alarms where nothing was built.

`python benchmarks/accuracy.py DATA --rendered SCENES schanger-small before=old.onnx ...` scores each model, by name or
file, by the official protocol (tiles of 256, threshold 0.5, one confusion matrix over all tiles) and writes
results/accuracy.json. DATA holds `levir`, `egy_bcd`, `sztaki`, `nochange` and `georef/sjer`; SCENES/val are rendered
scenes. Casts add to both dates, the shift moves the second date one pixel right and down, JPEG compresses every tile of
both dates. Where nothing was built it is the share of pixels called change; the two flights of `sjer` are brought to
0.5 m and mirrored at their borders to fill a tile.

`as run` are whole images through `schanger-edge evaluate --stitched` and, pairs without labels, `schanger-edge run`
(every pixel counts, and `sjer` at --gsd 0.5): with the tile, the halo and the engine that a user gets.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from common import save
from numpy.typing import NDArray

import schanger_edge

Image = NDArray[np.uint8]
TILE = 256
SJER = 0.1 / 0.5  # from its GSD to that of the model


def added(red: int, green: int, blue: int) -> Callable[[Image], Image]:
    """A cast on (T, T, 3)."""
    return lambda image: np.clip(image + np.array([red, green, blue], np.int16), 0, 255).astype(np.uint8)


def halved(image: Image) -> Image:
    """Half as bright."""
    return image // 2


def shifted(image: Image) -> Image:
    """One pixel right and down."""
    return np.pad(image, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def compressed(image: Image) -> Image:
    """Through JPEG of quality 50."""
    packed = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 50))[1]
    return cv2.imdecode(packed, cv2.IMREAD_COLOR)  # type: ignore[return-value]


def same(image: Image) -> Image:
    """As it is."""
    return image


ROWS: dict[str, tuple[Callable[[Image], Image], Callable[[Image], Image]]] = {
    "clean": (same, same),
    "blue +20": (added(0, 0, 20),) * 2,
    "blue -20": (added(0, 0, -20),) * 2,
    "red +20": (added(20, 0, 0),) * 2,
    "red -20": (added(-20, 0, 0),) * 2,
    "grey +20": (added(20, 20, 20),) * 2,
    "grey -20": (added(-20, -20, -20),) * 2,
    "half as bright": (halved, halved),
    "one pixel shift": (same, shifted),
    "JPEG 50": (compressed, compressed),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", help="[NAME=]FILE, or the name of a bundled model")
    parser.add_argument("--rendered", type=Path, required=True, help="tree of rendered scenes with a split val")
    parser.add_argument("--name", default="accuracy", help="of the file in results/")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    table = {}
    for text in options.models:
        name, _, place = text.rpartition("=")
        path = Path(place) if place.endswith(".onnx") else bundled(place)
        table[name or path.stem] = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            **measure(Model(path, options.threads), options.data, options.rendered),
            "as run": as_run(path, options.data, options.rendered),
        }
    save(options.name, {"method": __doc__, "models": table})


def bundled(name: str) -> Path:
    """The file of a bundled model."""
    return next(Path(schanger_edge.__file__).parent.rglob(f"{name}.onnx"))


class Model:
    """A model file on the CPU; takes tiles (T, T, 3) of both dates."""

    def __init__(self, path: Path, threads: int) -> None:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def __call__(self, before: Image, after: Image) -> NDArray[np.bool_]:
        tiles = {
            name: np.ascontiguousarray(image.transpose(2, 0, 1))[None]
            for name, image in (("before", before), ("after", after))
        }
        return self.session.run(["probability"], tiles)[0][0, 0] > 0.5  # type: ignore[no-any-return]


def measure(model: Model, data: Path, rendered: Path) -> dict[str, Any]:
    """All rows of one model."""
    levir = {row: scores(model, data / "levir" / "val", *change) for row, change in ROWS.items()}
    others = {"rendered": rendered / "val", "egy_bcd": data / "egy_bcd", "sztaki": data / "sztaki"}
    pairs = {
        f"nochange/{path.stem}": (read(path), read(data / "nochange" / "B" / path.name))
        for path in sorted((data / "nochange" / "A").iterdir())
    }
    pairs |= {
        f"sjer/{path.stem[-3:]}": (coarser(read(path)), coarser(read(path.with_name(f"later{path.stem[4:]}.tif"))))
        for path in sorted((data / "georef" / "sjer").glob("2017*.tif"))
    }
    return {
        "levir/val": levir,
        **{name: scores(model, folder) for name, folder in others.items()},
        "called change where nothing was built": {name: called(model, *pair) for name, pair in pairs.items()},
    }


def as_run(path: Path, data: Path, rendered: Path) -> dict[str, Any]:
    """F1 of whole images, and the share called change of pairs in which nothing was built."""
    f1 = {
        name: round(schanger_edge.evaluate(root, split="val", stitched=True, model=path).f1, 4)
        for name, root in {"levir/val": data / "levir", "rendered": rendered}.items()
    }
    pairs: dict[str, tuple[Path, Path, float | None]] = {}
    for before in sorted((data / "nochange" / "A").iterdir()):
        pairs[f"nochange/{before.stem}"] = before, data / "nochange" / "B" / before.name, None
    for before in sorted((data / "georef" / "sjer").glob("2017*.tif")):
        pairs[f"sjer/{before.stem[-3:]}"] = before, before.with_name(f"later{before.stem[4:]}.tif"), 0.5
    with tempfile.TemporaryDirectory() as folder:
        for name, (before, after, gsd) in pairs.items():
            result = schanger_edge.detect(before, after, Path(folder) / name, model=str(path), gsd=gsd, min_area=0)
            f1[name] = round(result.changed_share, 4)
    return f1


def scores(
    model: Model, folder: Path, first: Callable[[Image], Image] = same, second: Callable[[Image], Image] = same
) -> dict[str, float]:
    """F1, precision and recall on `folder/{A,B,label}`, each date changed as said."""
    both, found, labelled = 0, 0, 0
    for path in sorted((folder / "A").iterdir()):
        before, after = read(path), read(folder / "B" / path.name)
        file = next((folder / "label").glob(f"{path.stem}.*"))
        label = np.asarray(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) > 0
        for tile, owned, inside in tiles(*label.shape):
            change = model(first(padded(before[tile])), second(padded(after[tile])))[inside]
            both += int((change & label[owned]).sum())
            found, labelled = found + int(change.sum()), labelled + int(label[owned].sum())
    values = {"f1": 2 * both / max(found + labelled, 1), "precision": both / max(found, 1), "recall": both / labelled}
    return {key: round(value, 4) for key, value in values.items()}


def called(model: Model, before: Image, after: Image) -> float:
    """Share of pixels called change."""
    height, width = before.shape[:2]
    parts = [model(padded(before[t]), padded(after[t]))[inside].sum() for t, _, inside in tiles(height, width)]
    return round(int(np.sum(parts)) / (height * width), 4)


def tiles(height: int, width: int) -> Iterator[tuple[tuple[slice, slice], ...]]:
    """Of each tile: its window, the part of the image it decides, that part inside the tile; the last ones shift in."""
    sides = []
    for size in (height, width):
        sides.append([])
        for first in range(0, size, TILE):
            start, end = max(min(first, size - TILE), 0), min(first + TILE, size)
            sides[-1].append((slice(start, end), slice(first, end), slice(first - start, end - start)))
    for rows, cols in itertools.product(*sides):
        yield tuple(zip(rows, cols, strict=True))


def padded(image: Image) -> Image:
    """Mirrored at the right and lower border to a whole tile."""
    rows, cols = TILE - image.shape[0], TILE - image.shape[1]
    return np.pad(image, ((0, rows), (0, cols), (0, 0)), mode="symmetric") if rows or cols else image


def read(path: Path) -> Image:
    """RGB (H, W, 3)."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    return np.ascontiguousarray(image[..., ::-1], np.uint8)


def coarser(image: Image) -> Image:
    """From the GSD of sjer to that of the model."""
    return cv2.resize(image, None, fx=SJER, fy=SJER, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
