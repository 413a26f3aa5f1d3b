"""The journal over any series of sections, kills, damage and resumed runs holds what was finished, and nothing else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from schanger_edge.errors import OtherRunError, ProductError
from schanger_edge.geo.grid import Window
from schanger_edge.products.journal import FOLDER, Journal, unfinished

PIXELS = 100 * 64 * 64
WINDOWS = st.builds(lambda row, col: Window(64 * col, 64 * row, 64, 64), st.integers(0, 9), st.integers(0, 9))


class StoppedError(Exception):
    """Stands for whatever ends a run inside a section."""


class Runs(RuleBasedStateMachine):
    """Runs into one output folder, one after the other. `whole` is what the next one may take over."""

    finished: Bundle[Window] = Bundle("finished")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / FOLDER
        self.whole: dict[Window, bytes] = {}
        self.damaged: set[Window] = set()
        self.identity = 0

    @initialize()
    def first_run(self) -> None:
        self.begin(Journal(self.folder))

    def begin(self, journal: Journal) -> int:
        self.journal = journal
        with_journal = journal.__enter__()
        return with_journal.begin({"version": "1", "threshold": self.identity}, PIXELS)

    @rule(target=finished, window=WINDOWS, content=st.binary(min_size=1, max_size=40))
    def a_section(self, window: Window, content: bytes) -> Window:
        if self.journal.path(window).exists():
            return multiple()  # type: ignore[return-value]
        with self.journal.adding(window) as folder:
            (folder / "change.bin").write_bytes(content)
        self.whole[window] = content
        return window

    @rule(window=WINDOWS)
    def stopped_inside_a_section(self, window: Window) -> None:
        with pytest.raises(StoppedError), self.journal.adding(window) as folder:
            (folder / "change.bin").write_bytes(b"half")
            raise StoppedError

    @rule(name=st.sampled_from(["new.abc", "new.00000000-00000000-00000064-00000064"]))
    def killed_inside_a_section(self, name: str) -> None:
        """As by a power cut: nothing of the program's own runs afterwards."""
        (self.root / name).mkdir(exist_ok=True)
        (self.root / name / "change.bin").write_bytes(b"half")
        self.resumed()
        assert not (self.root / name).exists()

    @rule(window=consumes(finished), place=st.integers(0, 10**6), bit=st.integers(0, 7))
    def a_flipped_bit(self, window: Window, place: int, bit: int) -> None:
        file = self.journal.path(window) / "change.bin"
        if window in self.whole:
            content = bytearray(file.read_bytes())
            content[place % len(content)] ^= 1 << bit
            file.write_bytes(content)
            del self.whole[window]
            self.damaged.add(window)

    @rule()
    def resumed(self) -> None:
        assert self.begin(Journal(self.folder, resume=True)) == len(self.damaged)
        self.damaged.clear()

    @rule()
    def another_run_is_refused(self) -> None:
        journal = Journal(self.folder, resume=True)
        if self.whole or self.damaged:
            with pytest.raises(OtherRunError, match="threshold"):
                journal.begin({"version": "1", "threshold": self.identity + 1}, PIXELS)

    @rule()
    def without_a_word_it_is_refused(self) -> None:
        if self.whole or self.damaged:
            with pytest.raises(ProductError, match="--resume"):
                Journal(self.folder).__enter__()

    @rule()
    def restarted_as_another_run(self) -> None:
        self.identity += 1
        assert self.begin(Journal(self.folder, restart=True)) == 0
        self.whole.clear()
        self.damaged.clear()

    @invariant()
    def holds_what_was_finished(self) -> None:
        found = self.journal.sections()
        assert found.keys() == self.whole.keys() | self.damaged
        assert {window: (found[window] / "change.bin").read_bytes() for window in self.whole} == self.whole
        assert list(found) == sorted(found, key=lambda window: (window.row_off, window.col_off))
        part = len(found) * 64 * 64 / PIXELS
        assert unfinished(self.folder) == (f"{part:.0%} done" if found else None)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
