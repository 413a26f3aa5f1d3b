"""What several test files share: GeoTIFFs, altered modules, a command line, terrain, a measure of overlap, sinks."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from schanger_edge.geo.grid import Grid, Window

ROOT = Path(__file__).parent.parent
UTM = "EPSG:32631"
ORIGIN = (500_000.0, 4_650_000.0)

Tiff = Callable[..., Path]
"""The fixture `make_tiff`."""
Ground = Callable[..., np.ndarray]
"""The fixture `ground`."""
MakePair = Callable[..., tuple[Path, Path]]
"""The fixture `make_pair`."""


def write_tiff(
    path: Path,
    data: np.ndarray,
    *,
    transform: Affine | None = None,
    crs: Any = UTM,
    nodata: float | None = None,
    mask: np.ndarray | None = None,
    alpha: bool = False,
    colors: list[ColorInterp] | None = None,
    **options: Any,
) -> Path:
    """Write (C, H, W) as a GeoTIFF of half a metre per pixel, or by the options otherwise; folders are made.

    Args:
        path: the file.
        data: pixels.
        transform: of the pixels; neither it nor `crs` makes a plain image.
        crs: see above.
        nodata: value of pixels without data.
        mask: (H, W), 0 where there is no data.
        alpha: whether the last band is alpha.
        colors: interpretation of each band.
        options: of GDAL's driver.
    """
    count, height, width = data.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width}
    if crs is not None or transform is not None:
        profile |= {"crs": crs, "transform": transform or Affine(0.5, 0, ORIGIN[0], 0, -0.5, ORIGIN[1])}
    if options.get("driver", "GTiff") == "GTiff" and (alpha or count != 3):
        profile |= {"photometric": "RGB", "ALPHA": "YES"} if alpha else {"photometric": "MINISBLACK", "ALPHA": "NO"}
    profile |= {"dtype": data.dtype, "nodata": nodata, **options}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
        if colors is not None:
            dataset.colorinterp = colors
        dataset.write(data)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def load_script(path: Path, name: str | None = None) -> ModuleType:
    """A Python file outside the packages as a module, named like the file unless another name is given."""
    spec = importlib.util.spec_from_file_location(name or path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def load_benchmark(name: str) -> ModuleType:
    """A script of benchmarks/ as a module; what it imports at its top from beside it is found."""
    folder = ROOT / "benchmarks"
    with mock.patch.object(sys, "path", [str(folder), *sys.path]):
        return load_script(folder / f"{name}.py", f"benchmark_{name}")


def command_line(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """A command line as of `schanger-edge`, in this process: its exit code and what it printed."""
    from schanger_edge.cli.app import call

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            call([str(argument) for argument in arguments])
        except SystemExit as end:
            return subprocess.CompletedProcess(arguments, int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("a command ends with SystemExit")


def terrain(
    height: int, width: int, *, at: tuple[float, float] = (0.0, 0.0), seed: int = 0, stretch: float = 1.0
) -> NDArray[np.uint8]:
    """uint8 RGB (3, H, W) of one endless landscape whose upper left corner is at (column, row) `at`, any fraction.

    It is a sum of waves of random direction, 6 to 40 pixels long, so that moving it needs no resampling; two seeds
    have nothing in common. `stretch` draws it out along the columns.
    """
    rng = np.random.default_rng(seed)
    length, angle = np.exp(rng.uniform(np.log(6), np.log(40), 150)), rng.uniform(0, 2 * np.pi, 150)
    phase = rng.uniform(0, 2 * np.pi, 150)
    cols, rows = np.arange(width) + at[0], np.arange(height) + at[1]
    along = np.exp(2j * np.pi * np.outer(cols / stretch, np.cos(angle) / length) + 1j * phase)
    down = np.exp(2j * np.pi * np.outer(rows, np.sin(angle) / length))
    heights = (down @ along.T).real / np.sqrt(75)  # of deviation 1
    steep = np.tanh(1.5 * heights)  # plateaus with edges between them
    return np.rint(120 + np.array([70, 60, 50])[:, None, None] * steep).astype(np.uint8)


class Overlap:
    """A CUDA layer that is watched: by how much batches overlap on the device.

    Args:
        cuda: the layer.
        streams: how many there are; further ones are the first again.
    """

    def __init__(self, cuda: Any, streams: int = 3) -> None:
        self._cuda, self._most, self._streams = cuda, streams, list[Any]()
        self._events: dict[int, list[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cuda, name)

    def stream(self) -> Any:
        """For copies in, inference and copies out, in this order."""
        new = len(self._streams) < self._most
        self._streams.append(self._cuda.stream() if new else self._streams[0])
        self._events[len(self._streams) - 1] = []
        return self._streams[-1]

    def record(self, event: Any, stream: Any) -> None:
        """Noted for each stream; over one stream all are its own, in order."""
        self._events[self._streams.index(stream)].append(event)
        self._cuda.record(event, stream)

    def release(self, *handles: Any) -> None:
        """What is the same is released once."""
        self._cuda.release(*{id(handle): handle for handle in handles}.values())

    def leads(self, session: Any, tiles: NDArray[np.uint8], rounds: int) -> list[float]:
        """By how many milliseconds the second of two batches is copied before the inference of the first ends."""
        found = []
        for _ in range(rounds):
            marks = []
            for events in self._events.values():
                events.clear()
            results = []
            for _ in range(2):
                results.append(session.submit(*tiles))
                marks.append({number: len(events) for number, events in self._events.items()})
            for result in results:
                result()
            copies, inference = self._events[0], self._events[1 if self._most > 1 else 0]
            ends = marks[0][1] - 1 if self._most > 1 else marks[0][0] - 3  # before the two of the copy out
            found.append(self._cuda.milliseconds(copies[marks[0][0]], inference[ends]))
        return found


def validate(item: Any) -> None:
    """Check a STAC item by the schemas that come with pystac; those of extensions lie on the network."""
    core = item.clone()
    core.stac_extensions = []
    core.validate()


def put_rows(sink: Any, row: int, probability: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
    """Give a sink full-width rows from `row` as a section."""
    height, width = probability.shape
    sink.begin(Window(0, row, width, height))
    sink.write(Window(0, row, width, height), probability, valid)
    sink.end({})


@contextlib.contextmanager
def raster_sink(folder: Path, grid: Grid, threshold: float = 0.5) -> Iterator[Any]:
    """A sink whose sections lie in a folder, and are gone afterwards."""
    from schanger_edge.products.journal import Journal
    from schanger_edge.products.rasters import RasterSink

    with Journal(folder) as journal:
        journal.begin({}, grid.width * grid.height)
        sink: Any = RasterSink(grid, threshold=threshold, journal=journal)
        try:
            yield sink
        finally:
            journal.discard()


def write_maps(
    folder: Path, grid: Grid, probability: NDArray[Any], valid: NDArray[np.bool_], threshold: float = 0.5
) -> None:
    """probability.tif and change.tif of whole arrays."""
    with raster_sink(folder, grid, threshold) as sink:
        put_rows(sink, 0, probability.astype(np.float32), valid)
        sink.finish(folder / "probability.tif", folder / "change.tif")


class ArraySink:
    """Keeps what it is given and counts how often each pixel came."""

    def __init__(self, height: int, width: int) -> None:
        self.probability = np.full((height, width), np.nan, np.float32)
        self.valid = np.zeros((height, width), bool)
        self.times = np.zeros((height, width), int)
        self.sections: list[Window] = []
        self.edges: dict[Window, dict[str, NDArray[np.float32]]] = {}

    def begin(self, section: Window) -> None:
        assert not self.times[self._at(section)].any()
        self.sections.append(section)

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        assert window.intersection(self.sections[-1]) == window
        at = self._at(window)
        assert probability is not None or not valid.any()
        if probability is not None:
            self.probability[at] = probability
        self.valid[at] = valid
        self.times[at] += 1

    def end(self, edges: Mapping[str, NDArray[np.float32]]) -> None:
        assert (self.times[self._at(self.sections[-1])] == 1).all()
        self.edges[self.sections[-1]] = dict(edges)

    def edge(self, section: Window, name: str) -> NDArray[np.float32] | None:
        return self.edges[section].pop(name, None)  # asked once

    def _at(self, window: Window) -> tuple[slice, slice]:
        return window.slices_in(Window(0, 0, self.valid.shape[1], self.valid.shape[0]))
