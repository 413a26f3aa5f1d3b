"""Connected areas against flood filling, and the journal against a model of what must survive."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from numpy.typing import NDArray

from schanger_edge.errors import OtherRunError, ProductError
from schanger_edge.geo.grid import Window
from schanger_edge.products import components
from schanger_edge.products.journal import FOLDER, Journal, join, unfinished


class Raster:
    """An open single-band dataset, as far as it is asked."""

    def __init__(self, values: NDArray[np.uint8]) -> None:
        self.values, (self.height, self.width) = values, values.shape

    def read(self, band: int, window: Any) -> NDArray[np.uint8]:
        assert band == 1
        return self.values[window.row_off : window.row_off + window.height]


def flooded(change: NDArray[np.bool_]) -> NDArray[np.int_]:
    """Numbers of the 4-connected areas from 1, in the order of their first pixels; 0 elsewhere."""
    numbers, count = np.zeros(change.shape, int), 0
    for row, col in np.argwhere(change).tolist():
        if numbers[row, col]:
            continue
        count += 1
        front = [(row, col)]
        while front:
            r, c = front.pop()
            inside = 0 <= r < change.shape[0] and 0 <= c < change.shape[1]
            if inside and change[r, c] and not numbers[r, c]:
                numbers[r, c] = count
                front += [(r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)]
    return numbers


@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.45, 0.6, 0.9]),
    st.integers(1, 40),
)  # fmt: skip
def test_connected_areas(height: int, width: int, seed: int, density: float, strip_pixels: int) -> None:
    """In strips of any number of rows."""
    rng = np.random.default_rng(seed)
    change = np.where(rng.random((height, width)) < density, 1, rng.choice([0, 255], (height, width))).astype(np.uint8)
    probability = rng.integers(0, 255, (height, width), np.uint8)
    numbers = flooded(change == 1)
    with mock.patch.object(components, "_STRIP_PIXELS", strip_pixels):
        found = components.find_components(Raster(change), Raster(probability), None)
        strips = list(components.strips(Raster(change)))
    assert found.nodata == (change == 255).any()
    assert found.measures.first.size == numbers.max()
    for index, values in enumerate(zip(*found.measures, strict=True)):
        inside = numbers == index + 1
        own = probability[inside].astype(int)
        assert values == (np.flatnonzero(inside)[0], own.size, own.size, own.sum(), own.max())
    before = 0
    for strip in strips:
        of_label = np.append(found.of_label[before : before + strip.count] + 1, 0)  # -1, of label 0, is no area
        rows = slice(strip.window.row_off, strip.window.row_end)
        assert (of_label[strip.labels - 1] == numbers[rows]).all()
        before += strip.count
    assert before == found.of_label.size


SIDE = 10
SECTIONS = [Window(col, row, SIDE, SIDE) for row in (0, SIDE) for col in (0, SIDE, 2 * SIDE)]
PIXELS = SIDE * SIDE * len(SECTIONS)


class KilledRuns(RuleBasedStateMachine):
    """One output folder through runs that begin, end, fail and are killed; `kept` is what must be there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.journal: Journal | None = None
        self.kept: dict[Window, str] = {}
        self.identity: str | None = None
        self.discarded = False

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def root(self) -> Path:
        return self.folder / FOLDER

    @precondition(lambda self: self.journal is None)
    @rule(identity=st.sampled_from("ab"), how=st.sampled_from(["", "resume", "restart"]))
    def begin(self, identity: str, how: str) -> None:
        known = self.kept and self.identity is not None
        options: Any = {how: True} if how else {}
        journal = Journal(self.folder, **options)
        if known and not how:
            with pytest.raises(ProductError, match=rf"{self.done()} done"):
                journal.__enter__()
            return
        journal.__enter__()
        if known and how == "resume" and identity != self.identity:
            with pytest.raises(OtherRunError, match=f'run was "{self.identity}", now "{identity}"'):
                journal.begin({"run": identity}, PIXELS)
            return
        journal.begin({"run": identity}, PIXELS)
        if not (known and how == "resume"):
            self.kept = {}
        self.journal, self.identity, self.discarded = journal, identity, False

    def done(self) -> str:
        return f"{len(self.kept) / len(SECTIONS):.0%}"

    @precondition(lambda self: self.journal is not None)
    @rule(section=st.sampled_from(SECTIONS), text=st.text("xyz", max_size=3))
    def add(self, section: Window, text: str) -> None:
        assert self.journal is not None
        if section not in self.kept:  # a run asks which are there
            with self.journal.adding(section) as folder:
                (folder / "data").write_text(text)
            self.kept[section] = text

    @precondition(lambda self: self.journal is not None)
    @rule(section=st.sampled_from(SECTIONS), error=st.sampled_from([OSError, KeyboardInterrupt, ValueError]))
    def add_fails(self, section: Window, error: type[BaseException]) -> None:
        assert self.journal is not None
        with pytest.raises((error, ProductError)), self.journal.adding(section) as folder:
            (folder / "data").write_text("torn")
            raise error
        assert not list(self.root.glob("new.*"))

    @precondition(lambda self: self.journal is not None)
    @rule(half_written=st.booleans())
    def kill(self, half_written: bool) -> None:
        """Nothing is tidied up; a section may lie there without its name."""
        if half_written:
            torn = Path(tempfile.mkdtemp(prefix="new.", dir=self.root))
            (torn / "data").write_text("torn")
        self.journal = None

    @precondition(lambda self: self.journal is None and self.root.exists())
    @rule()
    def killed_before_it_signed(self) -> None:
        """What says whose the sections are goes first, and comes last."""
        (self.root / "run.json").unlink(missing_ok=True)
        self.identity = None

    @precondition(lambda self: self.journal is not None)
    @rule(discard=st.booleans())
    def end(self, discard: bool) -> None:
        assert self.journal is not None
        if discard:
            self.journal.discard()
            self.kept = {}
        self.journal.__exit__(None, None, None)
        self.journal = None
        assert self.root.exists() == bool(self.kept)

    @precondition(lambda self: self.journal is None and self.identity is not None)
    @rule(ours=st.sets(st.sampled_from(SECTIONS)))
    def join_a_part(self, ours: set[Window]) -> None:
        """Another machine did some of it; what both did is the same."""
        with tempfile.TemporaryDirectory() as other:
            with Journal(Path(other)) as part:
                part.begin({"run": self.identity}, PIXELS)
                for section in ours:
                    with part.adding(section) as folder:
                        (folder / "data").write_text(self.kept.get(section, "other"))
            join([Path(other)], self.folder)
        for section in ours:
            self.kept.setdefault(section, "other")

    @invariant()
    def what_was_finished_is_whole(self) -> None:
        sections = Journal(self.folder).sections()
        assert list(sections) == sorted(self.kept, key=lambda window: (window.row_off, window.col_off))
        for section, path in sections.items():
            assert path == Journal(self.folder).path(section)
            assert (path / "data").read_text() == self.kept[section]
            assert {file.name for file in path.iterdir()} == {"data", "sha256.json"}
        known = self.kept and self.identity is not None
        assert unfinished(self.folder) == (f"{self.done()} done" if known else None)


TestKilledRuns = KilledRuns.TestCase
TestKilledRuns.settings = settings(max_examples=20, stateful_step_count=15)
