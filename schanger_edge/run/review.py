"""From what was decided in a run's report to reviewed changes, labels and a PDF: `schanger-edge review`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from schanger_edge.errors import ReviewError
from schanger_edge.files import read_json, write_json
from schanger_edge.geo.grid import Grid
from schanger_edge.options import Options, option
from schanger_edge.products import CHANGE, POLYGONS, REPORT, SUMMARY
from schanger_edge.products.decisions import FORMAT, VERSION, Decision, counted, read_decisions
from schanger_edge.products.pdf import PRODUCT as PDF
from schanger_edge.products.pdf import find_browser, write_pdf
from schanger_edge.products.polygons import LAYER
from schanger_edge.products.register import FORMATS, REVIEWED, REVIEWED_NAMES, formats_of
from schanger_edge.products.reviewed import LABEL_NAMES, PAIRS, grid_of, write_labels, write_reviewed
from schanger_edge.products.staging import Staging
from schanger_edge.scene.remote import is_connection, is_plain

Name = str | PathLike[str]


@dataclasses.dataclass(frozen=True)
class ReviewOptions(Options):
    """What is made of a review.

    Attributes:
        also: further formats of the reviewed changes, see `products.register.FORMATS`.
        labels: folder for labels that `dataset make` takes; None makes none.
        pdf: also print the report, without what was rejected.
    """

    title = "Products"

    also: tuple[str, ...] = option(
        (), "Also write the reviewed changes in this format; repeatable.", choices=tuple(FORMATS)
    )
    labels: str | None = option(None, "Folder to write labels to, for `dataset make`.", unset="no labels", is_path=True)
    pdf: bool = option(False, "Also write the report as report.pdf, for which Chromium or Chrome must be installed.")


@dataclasses.dataclass(frozen=True)
class Review:
    """The result of a review.

    Attributes:
        changes: of the run.
        counts: decisions by kind.
        kept: changes in changes-reviewed.gpkg, those that were not rejected; None where no decisions were given.
        written: files.
        notes: what could not be written, in sentences.
        labels: how many changes became labels, and how many "no change"; None where none were asked for.
    """

    changes: int
    counts: dict[str, int]
    kept: int | None
    written: tuple[Path, ...]
    notes: tuple[str, ...]
    labels: tuple[int, int] | None

    @property
    def reviewed(self) -> int:
        """Changes on which there is a decision."""
        return sum(self.counts.values())


def review(
    result: Name, decisions: Name | None = None, options: ReviewOptions | None = None, **keywords: Any
) -> Review:
    """Write what a review leaves of a run's changes, and what else is asked for, into the result's folder.

    `changes-reviewed.gpkg` holds the changes that were not rejected, with their decision and note. summary.json lists
    what was written, so that a later run into the folder takes it away.

    Args:
        result: folder of a run.
        decisions: decisions.json that its report saved; None prints the report alone.
        options: see `ReviewOptions`.
        keywords: any of the options by name.

    Raises:
        ReviewError: the decisions are damaged, or those on another run; there is nothing to learn from.
        SchangerError: one sentence on what else is wrong and what to do.
    """
    options = dataclasses.replace(options or ReviewOptions(), **keywords)
    folder, summary = Path(result), _summary(Path(result))
    if decisions is None and (options.also or options.labels or not options.pdf):
        raise ReviewError("name the decisions.json that the report saved; without it only --pdf can be made.")
    found = {} if decisions is None else read_decisions(Path(decisions), summary["changes_sha256"], summary["polygons"])
    for name in options.also:
        FORMATS[name].check()
    if options.pdf:
        find_browser()
    grid = grid_of(folder / CHANGE)
    formats, notes = formats_of(grid, options.also)
    made = ([] if decisions is None else ["", *formats]) + ["pdf"] * options.pdf
    names = [REVIEWED[one].name for one in made]
    takes_away = REVIEWED_NAMES if decisions is not None else (PDF.name,)
    kept, labels = None, None
    with contextlib.ExitStack() as stack:
        staging = stack.enter_context(Staging(folder, (*takes_away, SUMMARY), (*names, SUMMARY)))
        if decisions is not None:
            staging.protect([decisions])
            package = staging.path(REVIEWED[""].name)
            kept = write_reviewed(folder / POLYGONS, grid, found, package)
            for name in formats:
                FORMATS[name].write(package, LAYER, grid, staging.path(REVIEWED[name].name))
        if options.pdf:
            write_pdf(folder / REPORT, staging.path(PDF.name), _as_saved(summary, found))
        if options.labels is not None:
            others = stack.enter_context(Staging(Path(options.labels), LABEL_NAMES))
            labels = _write_labels(others, folder, grid, found, summary)
            others.publish()
        listed = {name: title for name, title in summary["products"].items() if name not in takes_away}
        summary["products"] = listed | {REVIEWED[one].name: REVIEWED[one].title for one in made}
        if decisions is not None:
            summary["review"] = {**counted(found), "not_reviewed": summary["polygons"] - len(found)}
        write_json(staging.path(SUMMARY), summary)
        staging.publish()
    written = [folder / name for name in names]
    if options.labels is not None:
        written.append(Path(options.labels) / PAIRS)
    return Review(summary["polygons"], counted(found), kept, tuple(written), tuple(notes), labels)


def _summary(folder: Path) -> dict[str, Any]:
    summary = read_json(folder / SUMMARY)
    if "schanger_edge" not in summary:
        raise ReviewError(f"{folder} holds no finished run: name the folder with its {SUMMARY}.")
    if "changes_sha256" not in summary:
        raise ReviewError(f"{folder} was made by an earlier version: run the detection again, and review that.")
    return summary


def _write_labels(
    staging: Staging, folder: Path, grid: Grid, found: Mapping[int, Decision], summary: Mapping[str, Any]
) -> tuple[int, int]:
    if grid.crs is None:
        raise ReviewError("the images of this run have no CRS, and `dataset make` needs one: leave --labels out.")
    images = [_found(summary["inputs"][date]["path"]) for date in ("before", "after")]
    for name in LABEL_NAMES:
        staging.path(name)
    target, around = staging.path(PAIRS).parent, summary["model"]["card"]["tile"]
    return write_labels(target, images, folder / POLYGONS, folder / CHANGE, found, around)


def _found(image: str) -> str:
    """The path of an image as a table anywhere may name it."""
    if not is_plain(image) or is_connection(image):
        return image
    if not os.path.exists(image):
        raise ReviewError(f"{image} is not here: call `review` from the folder in which the run was started.")
    return os.path.abspath(image)


def _as_saved(summary: Mapping[str, Any], found: Mapping[int, Decision]) -> dict[str, Any]:
    """The decisions as the report reads them."""
    entries = [{"id": number, **dataclasses.asdict(one)} for number, one in found.items()]
    return {"format": FORMAT, "version": VERSION, "changes_sha256": summary["changes_sha256"], "decisions": entries}
