"""The list of pairs of `batch`."""

from __future__ import annotations

import csv
import dataclasses
import datetime
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from schanger_edge.batch.outcome import failed
from schanger_edge.batch.pairs import ListedPair, read_pairs
from schanger_edge.batch.results import check_place, write_table
from schanger_edge.errors import DatasetError, ProductError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.tif", "b.tif", "c.gpkg", "clouds.tif"):
        (tmp_path / name).touch()
    return tmp_path


def listed(folder: Path, text: str) -> list[ListedPair]:
    (folder / "pairs.csv").write_text(text)
    return read_pairs(folder / "pairs.csv", ("changes.gpkg",))


def test_all_columns(folder: Path) -> None:
    head = "id,before,after,before_date,after_date,clip,valid_mask_before,valid_mask_after"
    (one,) = listed(folder, f"{head}\nx,a.tif,b.tif,2020-01-01,2021-01-01,c.gpkg,,clouds.tif\n")
    path = {name: str(folder / name) for name in ("a.tif", "b.tif", "c.gpkg", "clouds.tif")}
    own = {"clip": path["c.gpkg"], "valid_masks_after": (path["clouds.tif"],), "dates": ("2020-01-01", "2021-01-01")}
    assert one == ListedPair("x", path["a.tif"], path["b.tif"], own)
    assert one.files == {
        "before": path["a.tif"],
        "after": path["b.tif"],
        "clip": path["c.gpkg"],
        "valid_mask_after": path["clouds.tif"],
    }


def test_any_option_of_a_run_may_be_a_column(folder: Path) -> None:
    head = "before,after,threshold,nodata,match,valid_mask_before"
    (one,) = listed(folder, f"{head}\na.tif,b.tif,0.25,none,yes,clouds.tif | c.gpkg\n")
    masks = (str(folder / "clouds.tif"), str(folder / "c.gpkg"))
    assert one.options == {"threshold": 0.25, "nodata": None, "match": True, "valid_masks_before": masks}
    with pytest.raises(DatasetError, match=r"line 2: threshold must be at least 0 and less than 1, not 2"):
        listed(folder, "before,after,threshold\na.tif,b.tif,2\n")


def test_ids_are_made_of_the_before_images(folder: Path) -> None:
    pairs = listed(folder, "before,after\na.tif,b.tif\na.tif,b.tif\nhttps://host/x.tif?key=1,b.tif\n")
    assert [pair.id for pair in pairs] == ["a", "a-2", "x"]


def test_parquet_may_have_a_geometry(folder: Path) -> None:
    day = datetime.date(2020, 1, 1)
    table = pyarrow.table(
        {
            "Before": ["a.tif"],
            "after": ["b.tif"],
            "geometry": [b""],
            "before_date": [day],
            "after_date": [day],
            "id": [7],
        }
    )
    pyarrow.parquet.write_table(table, folder / "pairs.parquet")
    (one,) = read_pairs(folder / "pairs.parquet")
    assert (one.id, one.before, one.options["dates"]) == ("7", str(folder / "a.tif"), ("2020-01-01", "2020-01-01"))


def test_all_defects_in_one_sentence(folder: Path) -> None:
    with pytest.raises(DatasetError) as told:
        listed(
            folder,
            "before,after,id,before_date,after_date\na.tif,no.tif,x,,\n,b.tif,y,,\na.tif,b.tif,X,,\n"
            "a.tif,b.tif,changes.gpkg,,\na.tif,b.tif,z,2020-01-01,\na.tif,b.tif,w,soon,later\n",
        )
    text = str(told.value)
    for part in (
        f"line 2: after {folder / 'no.tif'} does not exist", "line 3 has no before", "line 4 repeats the id 'X'",
        "line 5 repeats the id 'changes.gpkg'", "line 6 has only one of the two dates", "; and 1 more.",
    ):  # fmt: skip
        assert part in text


def test_a_date_that_is_none_is_told_with_its_line(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 2 has the date 'soon': write it as 2021-06-03\."):
        listed(folder, "before,after,before_date,after_date\na.tif,b.tif,soon,2021-06-03\n")


def test_tables_that_are_none(folder: Path) -> None:
    for text, match in (("before,after\n", "lists no pair"), ("before,aftre\n", "lacks the column after")):
        with pytest.raises(DatasetError, match=match):
            listed(folder, text)
    (folder / "x.parquet").write_text("no table")
    with pytest.raises(DatasetError, match="cannot be read as a Parquet table"):
        read_pairs(folder / "x.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"before": ["a.tif"]}), folder / "y.parquet")
    with pytest.raises(DatasetError, match="lacks the column after"):
        read_pairs(folder / "y.parquet")


def test_times_of_any_precision(folder: Path) -> None:
    when = pyarrow.array([1622715630_123456789], pyarrow.timestamp("ns", "UTC"))
    day = pyarrow.array([1577836800], pyarrow.timestamp("s"))
    columns = {"before": ["a.tif"], "after": ["b.tif"], "before_date": day, "after_date": when}
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "pairs.parquet")
    (one,) = read_pairs(folder / "pairs.parquet")
    assert one.options["dates"] == ("2020-01-01T00:00:00", "2021-06-03T10:20:30.123456+00:00")


def test_users_and_years_that_do_not_exist(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 2: before .*~nosuchuser/a\.tif does not exist"):
        listed(folder, "before,after\n~nosuchuser/a.tif,b.tif\n")
    with pytest.raises(DatasetError, match="line 2 has the date '0001-01-01T00:00:00\\+14:00'"):
        listed(folder, "before,after,before_date,after_date\na.tif,b.tif,0001-01-01T00:00:00+14:00,2021-01-01\n")


def test_a_batch_replaces_its_own_results_alone(folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    (out / "results.csv").write_text("before,after\na.tif,b.tif\n")
    with pytest.raises(ProductError, match=r"results\.csv is an input of this batch"):
        check_place(out, [out / "results.csv"])
    with pytest.raises(ProductError, match=r"results\.csv is no result of an earlier batch"):
        check_place(out, [folder / "pairs.csv"])
    (out / "results.csv").unlink()
    write_table(out / "results.parquet", [dataclasses.asdict(failed(ListedPair("=1+1", "a", "b"), "why"))])
    check_place(out, [folder / "pairs.csv"])
    (row,) = csv.DictReader((out / "results.csv").read_text().splitlines())
    assert row["id"] == "'=1+1"
    assert pyarrow.parquet.read_table(out / "results.parquet")["id"].to_pylist() == ["=1+1"]
