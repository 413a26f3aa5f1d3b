"""From two images to a change map: `schanger-edge run`."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SchangerError
from schanger_edge.files import write_json
from schanger_edge.model.bundled import model_path
from schanger_edge.notebook import page_piece
from schanger_edge.products import CHANGE, POLYGONS, PREVIEW, PROBABILITY, REPORT, SUMMARY
from schanger_edge.products.arrays import kept_arrays, read_probability
from schanger_edge.products.journal import Journal
from schanger_edge.products.polygons import LAYER
from schanger_edge.products.register import PRODUCT_NAMES, REVIEWED_NAMES, made_by
from schanger_edge.products.staging import Staging
from schanger_edge.progress import Progress, heard
from schanger_edge.run.control import Control, understood
from schanger_edge.run.options import Engine, RunOptions, check_packages
from schanger_edge.run.predict import Flow
from schanger_edge.run.stages import Laps, Run
from schanger_edge.run.summary import summarize
from schanger_edge.scene import open_pair
from schanger_edge.sessions import Session, open_session
from schanger_edge.tiling.partition import Part

READ_THREADS = min(4, os.cpu_count() or 1)
"""That decode the blocks of one image."""
Image = str | PathLike[str]


@dataclasses.dataclass(frozen=True, repr=False)
class Detection:
    """The result of a run.

    Attributes:
        folder: where the products are.
        valid: pixels with data in both dates, inside the area of interest where there is one.
        changed: of these, pixels called change.
        polygons: number of polygons in changes.gpkg.
        warnings: what makes the result doubtful, in sentences.
        summary: the content of summary.json.
    """

    folder: Path
    valid: int
    changed: int
    polygons: int
    warnings: tuple[str, ...]
    summary: dict[str, Any]

    @property
    def probability(self) -> Path:
        """Map of probability: uint8, 1/254 per step, nodata 255."""
        return self.folder / PROBABILITY

    @property
    def change(self) -> Path:
        """Map of change: 0, 1, nodata 255."""
        return self.folder / CHANGE

    @property
    def polygons_path(self) -> Path:
        """The changed areas: a GeoPackage."""
        return self.folder / POLYGONS

    @property
    def report(self) -> Path:
        """The page that shows it all."""
        return self.folder / REPORT

    @property
    def changed_share(self) -> float:
        """Share of the valid pixels that is called change."""
        return self.changed / self.valid

    @property
    def words(self) -> str:
        """How much changed."""
        area = self.summary["area_m2"]["changed"]
        size = f"{area:,.0f} m2" if area is not None else f"{self.changed:,} pixels"
        return f"{size}, {self.changed_share:.2%} of the valid area, {self.polygons} polygons"

    def read_probability(self) -> NDArray[np.float32]:
        """The whole map of probability, (H, W), 0-1; NaN where there is no data.

        Raises:
            ProductError: it cannot be read.
        """
        return read_probability(self.probability)

    def to_geodataframe(self) -> Any:
        """The changed areas as a `geopandas.GeoDataFrame`, with a row per polygon.

        Raises:
            SchangerError: GeoPandas is not installed.
        """
        try:
            geopandas = importlib.import_module("geopandas")
        except ImportError as error:
            raise SchangerError("to_geodataframe needs GeoPandas: pip install geopandas.") from error
        return geopandas.read_file(self.polygons_path, layer=LAYER, engine="pyogrio")

    def __repr__(self) -> str:
        return f"Detection({str(self.folder)!r}: change: {self.words}{_doubts(self.warnings)})"

    def _repr_html_(self) -> str:
        return page_piece(str(self.folder), f"change: {self.words}", self.warnings, self.folder / PREVIEW)


def _doubts(warnings: Sequence[str]) -> str:
    return f"; {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""


def detect(
    before: Image | NDArray[Any],
    after: Image | NDArray[Any],
    output: Image,
    options: RunOptions | None = None,
    *,
    session: Session | None = None,
    control: Control | None = None,
    **keywords: Any,
) -> Detection:
    """Find what changed between two images of one place.

    Writes `probability.tif`, `change.tif`, `changes.gpkg`, `preview.png`, `report.html`, `summary.json`, and for QGIS
    `result.qgz`, `change.qml` and `probability.qml`. They get their names when all of them are complete; until then,
    and after an error, results of an earlier run stay as they are. What a run that stops has finished is kept in a
    hidden folder of `output`; with `resume` the same call goes on from there and gives the same maps, to the byte.

    Args:
        before: image of the first date; GeoTIFF or anything GDAL opens, also URLs and /vsi paths. Or an array of red,
            green and blue, bands first as rasterio reads it: (3, H, W); masked where it has no data. Arrays are kept as
            GeoTIFFs in `output`, which the products refer to.
        after: image of the second date, of any CRS, grid and extent that overlaps the first; or an array.
        output: folder for the products; made if absent.
        options: what is asked for, see `RunOptions`.
        session: an open session to run on, which stays open; of the engine's options only `batch_size` counts then.
        control: how to go on after a stop, and whom to tell, see `Control`.
        keywords: any option of `RunOptions` or attribute of `Control` by name, such as `threshold=0.6, resume=True`;
            `transform`, an `affine.Affine`, and `crs`, of arrays, which have no place on earth without them.

    Raises:
        StoppedError: `stop` said so.
        SchangerError: one sentence on what is wrong and what to do.
    """
    place = keywords.pop("transform", None), keywords.pop("crs", None)
    options, control = understood(options, control, keywords)
    with (
        kept_arrays((before, after), Path(output), *place) as images,
        _opened(images, Path(output), options, session, control) as (run, staging, journal),
    ):
        flow, sink = run.predict()
        counts = run.join_maps(flow, sink)
        polygons = run.outline()
        counts = dataclasses.replace(counts, changed=counts.changed - polygons.small_pixels)
        report = run.draw()
        summary = summarize(run, flow, counts, polygons)
        report.write(staging.path(REPORT), summary)
        write_json(staging.path(SUMMARY), summary)
        run.write_item()
        run.write_for_qgis()
        staging.publish()
        journal.discard()
    return Detection(Path(output), counts.valid, counts.changed, polygons.written, tuple(run.warnings), summary)


def detect_part(
    before: Image,
    after: Image,
    output: Image,
    part: Part,
    options: RunOptions | None = None,
    *,
    session: Session | None = None,
    control: Control | None = None,
    **keywords: Any,
) -> Flow:
    """Predict one part of a scene, and keep it in `output` as an unfinished run; `journal.join` puts parts together.

    Args and raises as `detect`.

    Args:
        part: which.

    Returns:
        What was predicted by this call.
    """
    options, control = understood(options, control, keywords)
    with _opened((before, after), Path(output), options, session, control) as (run, _, _):
        return run.predict(part)[0]


@contextlib.contextmanager
def _opened(
    images: tuple[Image, Image], output: Path, options: RunOptions, session: Session | None, control: Control
) -> Iterator[tuple[Run, Staging, Journal]]:
    """A run with all that it needs; the folder is held first, so that a refusal costs nothing."""
    check_packages(options.further)
    intended = [product.name for product in made_by(options.further.also, stac_item=options.further.stac)]
    with contextlib.ExitStack() as stack:
        laps = Laps(stack.enter_context(heard(control.progress)))
        staging = stack.enter_context(Staging(output, (*PRODUCT_NAMES, *REVIEWED_NAMES), intended))
        staging.protect((*images, *options.paths))
        laps.opened(0)
        journal = stack.enter_context(Journal(output, resume=control.resume, restart=control.restart))
        pair = stack.enter_context(open_pair(*images, options, threads=READ_THREADS))
        staging.protect(pair.files)
        laps.opened(1)
        ready = session or stack.enter_context(open_for(options.engine, laps.progress))
        laps.opened(2)
        yield Run(pair, ready, staging, journal, options=options, control=control, laps=laps), staging, journal


def open_for(engine: Engine, progress: Progress | None = None) -> Session:
    """The session that a run with these options opens; raises as `open_session`."""
    model = model_path(engine.model, progress)
    return open_session(model, engine.device, engine.threads, binding=engine.cuda, progress=progress)
