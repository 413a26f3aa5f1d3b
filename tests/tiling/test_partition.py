"""Parts of a scene, predicted apart and joined, give the bytes of one run."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import MakePair, load_benchmark

from schanger_edge import detect
from schanger_edge.errors import ProductError, StoppedError
from schanger_edge.products.journal import FOLDER, join, unfinished
from schanger_edge.run import predict
from schanger_edge.run.detect import detect_part
from schanger_edge.tiling.partition import Part
from schanger_edge.tiling.plan import TilePlan

BLOCKS = {"tiled": True, "blockxsize": 64, "blockysize": 64}


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=32, halo=4)
    return tmp_path / "m.onnx"


@pytest.fixture
def pair(make_pair: MakePair) -> tuple[Path, Path]:
    return make_pair(600, 300, holes=[np.s_[100:220, 60:200]], **BLOCKS)


def run_part(pair: Any, folder: Path, model: Path, part: Part, **options: Any) -> Path:
    output = folder / f"{part.number}-of-{part.count}"
    detect_part(*pair, output, part, model=model, device="cpu", resume=True, **options)
    return output


def joined(folder: Path, parts: list[Path], pair: Any, model: Path, **options: Any) -> Path:
    folder.mkdir()
    join(parts, folder)
    result = detect(*pair, folder, model=model, resume=True, **options)
    tiles = result.summary["tiles"]
    assert tiles["taken_over"] == tiles["run"] + tiles["skipped"]
    return folder


@pytest.mark.parametrize(("count", "column", "batch"), [(2, 8192, 1), (3, 128, 3), (5, 128, 1)])
def test_parts_give_the_bytes_of_one_run(
    count: int, column: int, batch: int, pair: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "COLUMN", column)
    content = load_benchmark("kill_resume").content
    whole = detect(*pair, tmp_path / "whole", model=model, batch_size=batch)
    parts = [
        run_part(pair, tmp_path, model, Part(number, count), batch_size=batch) for number in reversed(range(count))
    ]
    together = joined(tmp_path / "joined", parts, pair, model, batch_size=batch)
    assert content(together) == content(whole.folder)
    assert (together / "preview.png").read_bytes() == (whole.folder / "preview.png").read_bytes()


def test_a_part_that_was_stopped_is_gone_on_with(pair: Any, model: Path, tmp_path: Path) -> None:
    answers = itertools.chain([False, False], itertools.repeat(True))  # for the row above, and the first of its own
    with pytest.raises(StoppedError, match="asked to stop"):
        detect_part(*pair, tmp_path / "1-of-2", Part(1, 2), model=model, device="cpu", stop=lambda: next(answers))
    assert unfinished(tmp_path / "1-of-2") is not None
    parts = [run_part(pair, tmp_path, model, Part(number, 2)) for number in (0, 1)]
    whole = detect(*pair, tmp_path / "whole", model=model)
    content = load_benchmark("kill_resume").content
    assert content(joined(tmp_path / "joined", parts, pair, model)) == content(whole.folder)


def test_a_join_that_was_stopped_goes_on(pair: Any, model: Path, tmp_path: Path) -> None:
    parts = [run_part(pair, tmp_path, model, Part(number, 2)) for number in (0, 1)]
    (tmp_path / "joined").mkdir()
    join(parts[1:], tmp_path / "joined")
    join(parts, tmp_path / "joined")
    assert unfinished(tmp_path / "joined") == "100% done"


def test_what_was_joined_may_come_again(pair: Any, model: Path, tmp_path: Path) -> None:
    """A worker that was lost after the join: Dask computes its parts once more."""
    parts = [run_part(pair, tmp_path, model, Part(number, 2)) for number in (0, 1)]
    (tmp_path / "joined").mkdir()
    join(parts, tmp_path / "joined")
    join([run_part(pair, tmp_path, model, Part(1, 2))], tmp_path / "joined")
    assert unfinished(tmp_path / "joined") == "100% done"


@pytest.mark.parametrize("identity", [None, "", '{"pixels": 1'])
def test_sections_that_nothing_speaks_for_are_dropped(
    identity: str | None, pair: Any, model: Path, tmp_path: Path
) -> None:
    parts = [run_part(pair, tmp_path, model, Part(number, 2)) for number in (0, 1)]
    root = tmp_path / "joined" / FOLDER
    shutil.copytree(next((parts[0] / FOLDER).glob("0*")), root / "00000000-00000000-00000001-00000001")
    if identity is not None:
        (root / "run.json").write_text(identity)
    join(parts, tmp_path / "joined")
    assert not (root / "00000000-00000000-00000001-00000001").exists()
    whole = detect(*pair, tmp_path / "whole", model=model)
    again = detect(*pair, tmp_path / "joined", model=model, resume=True)
    content = load_benchmark("kill_resume").content
    assert content(again.folder) == content(whole.folder)


def test_parts_of_other_runs_are_not_joined(pair: Any, model: Path, tmp_path: Path) -> None:
    parts = [run_part(pair, tmp_path, model, Part(number, 2), threshold=0.3 + number / 10) for number in (0, 1)]
    (tmp_path / "joined").mkdir()
    with pytest.raises(ProductError, match=r"do not belong together \(threshold was 0\.3, now 0\.4\)"):
        join(parts, tmp_path / "joined")


def test_every_section_is_in_one_part() -> None:
    sections = list(TilePlan(1000, 1000, 32, 4, 2).sections(64, 256))
    own, contexts = [], []
    for number in range(4):
        todo, context = Part(number, 4).share(sections, (), 4)
        own += [section.window for section in todo if section not in context]
        contexts.append({section.window.row_off for section in context})
    assert sorted(own, key=repr) == sorted((section.window for section in sections), key=repr)
    assert [len(rows) for rows in contexts] == [0, 1, 1, 1]


def test_a_part_needs_no_context_once_its_first_row_is_finished() -> None:
    sections = list(TilePlan(1000, 1000, 32, 4, 2).sections(64, 256))
    todo, _ = Part(1, 2).share(sections, (), 4)
    finished = {section.window for section in todo if section.window.row_off <= todo[1].window.row_off}
    left, context = Part(1, 2).share(sections, finished, 4)
    assert context == []
    assert len(left) < len(todo)


def test_alone_in_its_batch_a_tile_needs_but_the_lowest_strip_above() -> None:
    sections = list(TilePlan(1000, 1000, 32, 4, 2).sections(64, 256))
    (_, strips), (_, whole) = (Part(1, 2).share(sections, (), batch) for batch in (1, 2))
    assert {len(section.down) for section in strips} == {1}
    assert min(len(section.down) for section in whole) > 1
    assert [section.window.row_end for section in strips] == [section.window.row_end for section in whole]
