"""Every figure of README and docs/figures.md comes from a JSON under benchmarks/results/, never by hand."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, load_benchmark

NUMBER = re.compile(r"(?<!\w)(?<!\w[-./:])\d[\d.,]*")  # not the 16 of uint16, nor the 003 of sjer/2017_003
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)

NO_FIGURES = {
    "images of about 0.5 m per pixel": "the scale of the training data",
    "`--gsd 0.5`": "that scale",
    "Python 3.10 or newer": "what pyproject.toml asks for",
    "255 where a date has no data": "a value of change.tif",
    "exits with code 2": "the exit code",
    "JSTARS 18, 10186-10203 (2025), doi 10.1109/JSTARS.2025.3555849": "a citation",
}
"""Numbers in their prose that were not measured, each with its reason."""

NO_FIGURES_IN_BLOCKS = {
    "tiles of 256, threshold 0.5": "the official protocol",
    "SZTAKI AirChange, 1.5 m": "the data set's scale",
    "at most 1.1, tested": "the limit that tests/scene/test_rows.py holds",
    "99th percentile": "the name of a statistic",
    "bounds of 90 %": "the name of another",
    "64-bit Arm": "a kind of processor",
    "multiple of 32": "the channels that INT8 tensor cores take at once",
    "compute capability 8.6": "what benchmarks/traffic.py builds for",
    "two pairs of 128 pixels": "what benchmarks/cpu_training.py trains on",
}
"""The same for the literal text of benchmarks/figures_of_*.py."""


@pytest.fixture
def figures() -> ModuleType:
    return load_benchmark("figures")


def test_pages_are_what_make_figures_writes(figures: ModuleType) -> None:
    for page in pages(figures):
        text = page.read_text(encoding="utf-8")
        assert figures.fill(text, figures.BLOCKS) == text, f"{page} differs from benchmarks/results/: make figures"


def test_every_block_is_closed_and_in_use(figures: ModuleType) -> None:
    found = []
    for page in pages(figures):
        text = page.read_text(encoding="utf-8")
        names = [match[2] for match in figures.BLOCK.finditer(text)]
        assert text.count("<!-- figures:") == text.count("<!-- /figures -->") == len(names)
        found += names
    assert sorted(found) == sorted(figures.BLOCKS)


def test_no_figure_stands_outside_the_blocks(figures: ModuleType) -> None:
    assert untraced(prose(figures), NO_FIGURES) == []


def test_no_figure_is_typed_into_a_block() -> None:
    assert untraced("\n".join(literals()), NO_FIGURES_IN_BLOCKS) == []


def test_the_lists_hold_nothing_that_is_gone(figures: ModuleType) -> None:
    assert [text for text in NO_FIGURES if text not in prose(figures)] == []
    assert [text for text in NO_FIGURES_IN_BLOCKS if text not in "\n".join(literals())] == []
    assert "assert taken < 1.1 *" in (ROOT / "tests/scene/test_rows.py").read_text()


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("It scores F1 80.2 there.", ["80.2"]),
        ("It runs in 12 ms, on 3,000 tiles.", ["12", "3,000"]),
        ("| fp16 | 0.04 |", ["0.04"]),
        ("uint8 at `s3://` and `sjer/2017_003`, FP32, F1 and levir-1", []),
        ("exits with code 2", []),
        ("exits with code 3", ["3"]),
    ],
)
def test_a_figure_in_prose_is_seen(sentence: str, found: list[str]) -> None:
    assert untraced(sentence, NO_FIGURES) == found


def test_a_figure_altered_by_hand_is_seen_and_written_again(figures: ModuleType) -> None:
    text = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    block = next(figures.BLOCK.finditer(text))
    number = NUMBER.search(text, block.start(3) - 200)
    assert number is not None
    altered = f"{text[: number.start()]}99{text[number.end() :]}"
    assert figures.fill(altered, figures.BLOCKS) == text != altered


def test_a_new_result_reaches_the_page(figures: ModuleType, tmp_path: Path) -> None:
    """The command itself, on a copy whose JSON says something else."""
    scripts = (*ROOT.glob("benchmarks/figure*.py"), ROOT / "benchmarks/peers/tables.py")
    published = ROOT / "schanger_edge/model/published.json"
    for source in (*scripts, published, *ROOT.glob("benchmarks/results/**/*.json"), *pages(figures)):
        target = tmp_path / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    accuracy = tmp_path / "benchmarks" / "results" / "schanger-small-accuracy.json"
    result = json.loads(accuracy.read_text())
    result["scores"]["sztaki"]["f1"] = 0.12345
    accuracy.write_text(json.dumps(result))
    command = [sys.executable, "-S", str(tmp_path / "benchmarks" / "figures.py")]  # -S: the standard library alone
    told = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert told == ["docs/figures.md written anew\n", ""]
    assert "| 99 | 12.3 |" in (tmp_path / "docs" / "figures.md").read_text()


def test_shares_of_the_floor_are_shown_from_a_quiet_machine_only(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = figures.figures_of_runs
    found = runs.result("roofline")
    for load, shown in ((1.4, True), (1.6, False)):  # one of it is its own
        monkeypatch.setattr(runs, "result", lambda name, load=load: {**found, "load": [load, load]})
        text = runs.roofline()
        assert ("not measured on a quiet machine" in text) == (not shown)
        rows = [line for line in text.splitlines() if "| fp32 |" in line]
        sessions = [one for one in found["sessions"] if one["precision"] == "fp32"]
        assert len(rows) == shown * len(sessions)
        for row, session in zip(rows, sessions, strict=False):
            assert f" {runs.percent(session['layers']['share'], 0)} % of " in row


def test_a_block_without_a_function_is_an_error(figures: ModuleType) -> None:
    with pytest.raises(SystemExit, match="no function writes latency"):
        figures.fill("<!-- figures: latency -->\n<!-- /figures -->", figures.BLOCKS)


def pages(figures: ModuleType) -> list[Path]:
    return [ROOT / name for name in figures.PAGES]


def prose(figures: ModuleType) -> str:
    """The README and the page of figures without code and without blocks."""
    text = "\n".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/figures.md"))
    return FENCE.sub("", figures.BLOCK.sub("", text))


def literals() -> Iterator[str]:
    """The literal text of the blocks, each string as it will be read; no docstrings, no format specifications."""
    sources = (path.read_text(encoding="utf-8") for path in ROOT.glob("benchmarks/figures_of_*.py"))
    tree = ast.parse("\n".join(source.replace("from __future__ import annotations", "") for source in sources))
    ignored: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FormattedValue) and node.format_spec:
            ignored |= set(ast.walk(node.format_spec))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            ignored.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in ignored:
            yield " ".join(node.value.split())


def untraced(text: str, known: Mapping[str, str]) -> list[str]:
    """The numbers of a text that stand in none of the known passages."""
    for passage in sorted(known, key=len, reverse=True):
        text = text.replace(passage, " ")
    return [number.rstrip(".,") for number in NUMBER.findall(text)]
