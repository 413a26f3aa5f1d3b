"""Progress as people and programs see it: first and last of each stage, and not too much between them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from schanger_edge import progress
from schanger_edge.progress import Face, shown


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The time, which a test sets."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now  # type: ignore[return-value]


def told(clock: list[float], face: Face | None, *reports: tuple[float, str, int, int], **facts: Any) -> list[str]:
    """What is written where progress is reported at these seconds."""
    text = io.StringIO()
    with shown(Console(file=text, width=40), face) as tell:
        for seconds, *report in reports:
            clock[0] = 100 + seconds
            tell(*report, **facts)
    return text.getvalue().splitlines()


def objects(*arguments: Any, **facts: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told(*arguments, **facts)]


def test_an_object_a_line(clock: list[float]) -> None:
    reports = [(0.0, "tiles", 0, 64), (4.0, "tiles", 12, 64), (8.0, "tiles", 64, 64)]
    first, second, last = objects(clock, "json", *reports, pair="a b")
    assert first == {
        "stage": "tiles",
        "done": 0,
        "total": 64,
        "unit": "tiles",
        "rate": None,
        "eta": None,
        "pair": "a b",
    }
    assert (second["done"], second["rate"], second["eta"]) == (12, 3.0, 17.33)
    assert (last["done"], last["rate"], last["eta"]) == (64, 8.0, 0.0)


def test_a_few_a_second_and_always_the_last(clock: list[float]) -> None:
    hundred = [(index / 100, "predict", index, 1000) for index in range(101)]
    found = objects(clock, "json", *hundred, (1.01, "finish", 0, 4), (1.02, "finish", 4, 4))
    predicted = [one["done"] for one in found if one["stage"] == "predict"]
    assert predicted[0] == 0
    assert predicted[-1] == 100  # heard last, though too soon to be told, and not the end
    assert 4 <= len(predicted) <= 6
    assert [(one["stage"], one["done"]) for one in found[-2:]] == [("finish", 0), ("finish", 4)]


def test_what_an_earlier_run_did_is_no_speed(clock: list[float]) -> None:
    *_, last = objects(clock, "json", (0.0, "predict", 900, 1000), (1.0, "predict", 910, 1000))
    assert (last["rate"], last["eta"]) == (10.0, 9.0)


def test_a_stage_that_begins_anew(clock: list[float]) -> None:
    """Pairs of a watch, one after the other: each is told, also where it takes one step."""
    text = io.StringIO()
    with shown(Console(file=text), "json") as tell:
        for pair in ("first", "second", "second"):
            tell("predict", 100, 100, pair=pair)
    assert [json.loads(line)["pair"] for line in text.getvalue().splitlines()] == ["first", "second"]


def test_no_end_is_known_of_a_build(clock: list[float]) -> None:
    begun, ended = objects(clock, "json", (0.0, "build", 0, 1), (90.0, "build", 1, 1))
    assert (begun["total"], begun["eta"]) == (None, None)
    assert (ended["done"], ended["total"]) == (1, 1)


def test_off_a_terminal_a_line_every_five_percent_or_half_a_minute(clock: list[float]) -> None:
    quick = told(clock, "auto", *((float(index), "pairs", index, 200) for index in range(201)))
    assert len(quick) == 21
    assert quick[1] == "pairs: 5%, 10 of 200 pairs, 3 min 10 s left"
    assert quick[-1] == "pairs: 100%, 200 of 200 pairs"
    slow = told(clock, "auto", *((10.0 * index, "pairs", index, 1000) for index in range(10)))
    assert [line.split(",")[1] for line in slow] == [f" {count} of 1" for count in (0, 3, 6, 9)]


def test_the_beginning_of_opening_gets_no_line(clock: list[float]) -> None:
    """It would precede the one sentence about an image that cannot be opened; programs and terminals hear of it."""
    assert told(clock, "auto", (0.0, "open", 0, 4)) == []
    assert told(clock, "auto", (0.0, "open", 0, 4), (3.0, "open", 1, 4)) == ["open: 25%, 1 of 4 steps, 9 s left"]
    assert [one["done"] for one in objects(clock, "json", (0.0, "open", 0, 4))] == [0]


def test_facts_and_speed_in_words(clock: list[float]) -> None:
    last = told(clock, "auto", (0.0, "train", 1, 9), (4000.0, "train", 5, 9), loss=0.1234, f1=None)[-1]
    assert last == "train: 56%, 5 of 9 steps, loss 0.123, 1 h 06 min left"
    last = told(clock, "auto", (0.0, "predict", 0, 2 * 10**7), (1.0, "predict", 10**7, 2 * 10**7))[-1]
    assert last == "predict: 50%, 10 Mpx/s, 1 s left"


def test_a_bar_on_a_terminal_and_nothing_where_nothing_is_wanted(clock: list[float]) -> None:
    text = io.StringIO()
    with shown(Console(file=text, force_terminal=True, width=100)) as tell:
        tell("tiles", 3, 4)
    assert "━" in text.getvalue()
    assert " 75 % 3 of 4 tiles" in text.getvalue()
    assert told(clock, None, (0.0, "tiles", 1, 2)) == []
