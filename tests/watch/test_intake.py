"""Reading what has arrived: what passes is tried again, what crashes the process is given up."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schanger_edge.watch import station as station_module
from schanger_edge.watch.ledger import Ledger
from schanger_edge.watch.station import STARTS

Drop = Callable[..., Path]
intake = importlib.import_module("schanger_edge.watch.intake")


def failing(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Reading any scene fails so."""

    def probe(path: str, **options: Any) -> Any:
        raise error

    patch.setattr(intake, "probe", probe)


def test_dates_come_from_the_file_then_its_name_then_its_time_of_change(station: Any, drop: Drop) -> None:
    import rasterio

    tagged = drop("tagged_20240101.tif")
    with rasterio.open(tagged, "r+") as dataset:
        dataset.update_tags(TIFFTAG_DATETIME="2021:06:03 10:20:30")
    drop("named_20240101.tif", seed=1)
    os.utime(drop("plain.tif", seed=2), ns=(0, 86_400 * 10**9))
    drop("odd_20240231.tif", seed=3)  # no date, so its time of change counts
    station.once()
    ledger = Ledger(station.output, read_only=True)
    taken = {scene.name: scene.taken for scene in ledger.scenes(state="ready")}
    ledger.close()
    assert taken["tagged_20240101.tif"] == "2021-06-03T10:20:30"
    assert taken["named_20240101.tif"] == "2024-01-01T00:00:00"
    assert taken["plain.tif"] == "1970-01-02T00:00:00"
    assert str(taken["odd_20240231.tif"]) > "2025"


def test_the_world_file_tells_scenes_apart(station: Any) -> None:
    """As with black images of two places."""
    import cv2
    import numpy as np

    for name, east in (("a", 0), ("b", 5000)):
        cv2.imwrite(str(station.inbox / f"{name}.png"), np.zeros((64, 64, 3), np.uint8))
        (station.inbox / f"{name}.pgw").write_text(f"0.5\n0\n0\n-0.5\n{east}\n0\n")
    found = station.once(pair_by="name")
    assert (found.counts["duplicate"], found.counts["waiting"]) == (0, 2)


def test_a_read_error_is_tried_again_and_then_reported(
    station: Any, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop("a_20240501.tif")
    monkeypatch.setattr(station_module, "RETRY", 0.01)
    failing(monkeypatch, OSError(5, "Input/output error"))
    station.until(lambda text: text.startswith("quarantined"))
    assert sum("will be retried" in text for text in station.reported) == 2
    assert "Input/output error), tried 3 times: get a fresh copy." in station.reason("a_20240501.tif")


def test_a_file_that_crashes_the_process_is_given_up(station: Any, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    drop("a_20240501.tif")
    with monkeypatch.context() as patch:
        failing(patch, KeyboardInterrupt())
        for _ in range(STARTS):
            with pytest.raises(KeyboardInterrupt):
                station.once()
    assert station.once().counts["quarantined"] == 1
    assert "the process died 10 times while examining it" in station.reason("a_20240501.tif")


def test_a_file_that_changes_while_it_is_looked_at_is_no_bad_file(
    station: Any, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop("a_20240501.tif")
    probe = intake.probe

    def growing(name: str, **options: Any) -> Any:
        monkeypatch.setattr(intake, "probe", probe)
        path.write_bytes(path.read_bytes() + b"more")
        return probe(name, **options)

    monkeypatch.setattr(intake, "probe", growing)
    first = station.once()
    assert (first.counts["ready"], first.counts["quarantined"], first.counts["looking"]) == (0, 0, 0)
    assert station.once().counts["ready"] == 1


def test_a_name_that_is_no_text_is_put_aside(station: Any, drop: Drop) -> None:
    path = drop("a.tif")
    path.rename(Path(os.fsdecode(os.fsencode(station.inbox) + b"/bad\xff.tif")))
    station.once()
    assert "has a name that is not valid text: rename it" in station.reason("bad\\xff.tif")
    assert list(station.inbox.iterdir()) == []
