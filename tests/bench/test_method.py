"""The arithmetic of the method: orders, warm-up, percentiles that n can tell."""

from __future__ import annotations

import pytest

from schanger_edge.bench.method import ROUNDS, order, percentile, settled, spread


@pytest.mark.parametrize("count", [0, 1, 2, 5, 9, 12])
def test_every_round_has_every_case_once(count: int) -> None:
    cases = list(range(count))
    rounds = [order(cases, number) for number in range(ROUNDS)]
    assert all(sorted(found) == cases for found in rounds)


def test_no_case_is_always_first() -> None:
    firsts = {order(list("abcdefghi"), number)[0] for number in range(ROUNDS)}
    assert len(firsts) == ROUNDS
    assert {order(list("ab"), number)[0] for number in range(ROUNDS)} == {"a", "b"}


def test_settled_needs_two_windows_that_agree() -> None:
    assert not settled([1, 1, 1, 1, 1])
    assert settled([9, 1, 1, 1, 1, 1, 1])
    assert not settled([2, 2, 2, 1, 1, 1])
    assert not settled([1, 1, 1, 2, 2, 2])
    assert settled([1, 1, 50, 1, 50, 1])  # one slow call in a window does no harm


def test_percentiles_are_values_that_were_measured() -> None:
    times = [float(value) for value in range(100, 0, -1)]
    assert [percentile(times, percent) for percent in (50, 95, 99)] == [50, 95, 99]


def test_a_percentile_that_n_cannot_tell_is_none() -> None:
    times = [float(value) for value in range(1, 100)]
    assert percentile(times, 99) is None
    assert percentile(times[:20], 95) == 19
    assert percentile(times[:19], 95) is None
    assert percentile([7.0], 50) == 7


def test_spread_tells_its_n() -> None:
    assert spread([3, 1, 2, 10]) == {"median": 2.5, "low": 1, "high": 10, "n": 4}
    assert spread([]) is None
