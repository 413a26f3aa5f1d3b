"""Figures in the pages, written from `benchmarks/results/*.json`: `make figures`, or `python benchmarks/figures.py`.

A page holds what stands between `<!-- figures: NAME -->` and `<!-- /figures -->`; it is written by the function of that
name, never by hand. For a new block put the two comments into a page, and a function into one of `figures_of_*.py`
and its BLOCKS; it may return a picture as well as a table. Needs the standard library alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import figures_of_engines
import figures_of_field
import figures_of_models
import figures_of_runs
import figures_of_speed
import figures_of_tiling

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/figures.md", "docs/models.md", "docs/engines.md", "docs/native-engine.md")
BLOCKS = {
    **figures_of_models.BLOCKS, **figures_of_runs.BLOCKS, **figures_of_speed.BLOCKS, **figures_of_field.BLOCKS,
    **figures_of_engines.BLOCKS, **figures_of_tiling.BLOCKS,
}  # fmt: skip
BLOCK = re.compile(r"(<!-- figures: (\S+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


def main() -> None:
    for name in PAGES:
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text, BLOCKS)) != text:
            page.write_text(filled, encoding="utf-8")
            print(f"{name} written anew")


def fill(text: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """A page with its blocks written anew."""
    if unknown := {found[2] for found in BLOCK.finditer(text)} - set(blocks):
        raise SystemExit(f"no function writes {', '.join(sorted(unknown))}: name one in a BLOCKS.")
    return BLOCK.sub(lambda found: f"{found[1]}{blocks[found[2]]().strip()}\n{found[3]}", text)


if __name__ == "__main__":
    main()
