"""Which earlier scene a new one is compared with."""

from __future__ import annotations

import pytest
import shapely

from schanger_edge.errors import SchangerError
from schanger_edge.watch.ledger import READY, Scene
from schanger_edge.watch.pairing import check_pattern, earlier_one, named, superseded, time_of_change


def scene(number: int, day: int, place: str | None, outline: bytes | None) -> Scene:
    row = {"name": f"{number}.tif", "size": 1, "mtime_ns": 1, "state": READY, "reason": None, "put_at": None}
    row |= {"sha256": "", "starts": 0, "attempts": 0, "seen": 0.0}
    return Scene(number, taken=f"2024-05-{day:02d}T00:00:00", place=place, outline=outline, **row)  # type: ignore[arg-type]


def at(number: int, day: int, west: float = 0.0, width: float = 1.0) -> Scene:
    return scene(number, day, None, shapely.to_wkb(shapely.box(west, 0, west + width, 1)))


def called(number: int, day: int, place: str) -> Scene:
    return scene(number, day, place, None)


@pytest.mark.parametrize(
    ("stem", "place", "date"),
    [
        ("harbour_20240501", "harbour", "2024-05-01T00:00:00"),
        ("2024-05-01_harbour", "harbour", "2024-05-01T00:00:00"),
        ("S2_20240501T101530Z_T31TCJ", "S2 T31TCJ", "2024-05-01T10:15:30"),
        ("harbour_2024_05_01_1015", "harbour", "2024-05-01T10:15:00"),
        ("harbour north-20240501-v2", "harbour north v2", "2024-05-01T00:00:00"),
        ("harbour", "harbour", None),
        ("flight120240501", "flight120240501", None),  # a number, not a date
    ],
)
def test_what_a_name_tells(stem: str, place: str, date: str | None) -> None:
    assert named(stem) == (place, date)


def test_a_pattern_of_the_users() -> None:
    pattern = r"^(?P<date>\d{8})-\w+-(?P<place>[A-Z]+)$"
    assert named("20240501-x7-PORT", pattern) == ("PORT", "2024-05-01T00:00:00")
    with pytest.raises(SchangerError, match="does not match the pattern"):
        named("PORT", pattern)
    with pytest.raises(SchangerError, match="'20249901', which is not a date"):
        named("20249901-x7-PORT", pattern)
    with pytest.raises(SchangerError, match="not a valid regular expression"):
        check_pattern("(")
    with pytest.raises(SchangerError, match="needs a group"):
        check_pattern(r"\d+")


def test_dates_of_all_sources_compare_as_text() -> None:
    dates = ["2024-05-01T00:00:00", "2024-05-01T10:15:30", time_of_change(1_714_558_530_500_000_000)]
    assert dates[2] == "2024-05-01T10:15:30.500000"
    assert sorted(dates) == dates


def test_the_newest_earlier_one_of_the_place() -> None:
    scenes = [at(1, 1), at(2, 3), at(3, 2), at(4, 5), at(5, 4, west=10)]
    assert earlier_one(at(6, 4), scenes, 0.5) == scenes[1]
    assert earlier_one(at(6, 1), scenes, 0.5) is None
    assert earlier_one(at(6, 3), scenes, 0.5) == scenes[2]  # of the same date is not earlier


def test_the_overlap_is_a_share_of_the_smaller_footprint() -> None:
    large = at(1, 1, width=10)
    assert earlier_one(at(2, 2, west=9.4), [large], 0.5) == large  # 60% of the small one lies in the large one
    assert earlier_one(at(2, 2, west=9.6), [large], 0.5) is None
    assert earlier_one(at(2, 2, west=10), [large], 0.001) is None  # they touch


def test_places_by_name() -> None:
    scenes = [called(1, 1, "port"), called(2, 2, "town")]
    assert earlier_one(called(3, 3, "port"), scenes, 0.5) == scenes[0]
    assert earlier_one(at(3, 3), scenes, 0.5) is None


def test_what_is_superseded() -> None:
    scenes = [at(day, day) for day in (1, 2, 3, 4)] + [at(5, 1, west=10)]
    assert [scene.id for scene in superseded(scenes, 2, 0.5)] == [2, 1]
    assert superseded(scenes, 4, 0.5) == []
