"""The pages of docs/ that are taken at their word: their blocks of commands, and how these are run."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from helpers import ROOT

DOCS = ROOT / "docs"
WITHOUT_OPENVINO = ROOT / "tests" / "data" / "without_openvino"
"""Python finds a sitecustomize there: `--device auto` tries nothing, as in all tests."""
NEEDS = ("gpu", "jetson", "chromium")
_BLOCK = re.compile(r"^(?:<!-- needs: (?P<needs>.*?) -->\n)?```(?P<kind>.*)\n(?P<text>(?s:.*?))^```$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the hardware that the comment just before it asks for."""

    kind: str
    text: str
    needs: str | None


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(block["kind"], block["text"], block["needs"]) for block in found]


def commands(page: Path) -> list[str]:
    """The blocks that are run: all of kind sh that need no hardware."""
    return [block.text for block in read_blocks(page) if block.kind == "sh" and block.needs is None]


def run_block(text: str, folder: Path, shorter: Mapping[str, str] | None = None, **environment: str) -> str:
    """Run a block as a reader would who pastes it, in a folder; its standard output.

    Args:
        text: the block.
        folder: where it runs.
        shorter: what is replaced first, all that is not run as it is written.
        environment: further variables.
    """
    for written, run in (shorter or {}).items():
        text = text.replace(written, run)
    first = {"PATH": Path(sys.executable).parent, "PYTHONPATH": WITHOUT_OPENVINO}
    paths = {name: os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])]) for name, path in first.items()}
    done = subprocess.run(
        ["bash", "-euc", text], cwd=folder, env={**os.environ, **paths, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}{done.stdout}{done.stderr}"
    return done.stdout
