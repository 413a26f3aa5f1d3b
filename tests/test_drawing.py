"""Pictures: drawn whatever the environment asks of matplotlib, and a failure is one sentence beside whole results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from schanger_edge.drawing import draw

pytest.importorskip("matplotlib")


def test_a_backend_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell inside Jupyter exports to programs of other environments."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_of_jupyter.backend_inline")
    code = (
        "import os, sys; from pathlib import Path; from schanger_edge.drawing import draw\n"
        "note = draw(Path(sys.argv[1]), lambda figure: figure.add_subplot().plot([0, 1]))\n"
        "print(repr(note), os.environ['MPLBACKEND'])"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.png"], capture_output=True, text=True, check=True)
    assert done.stdout == "'' module://matplotlib_of_jupyter.backend_inline\n"
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture is not None
    assert picture.std() > 10


def test_what_cannot_be_drawn_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    def paint(figure: Any) -> None:
        raise ValueError("no such colour")

    note = draw(tmp_path / "a.png", paint)
    assert (
        note
        == f"{tmp_path / 'a.png'} could not be drawn, but all other results are complete: ValueError: no such colour"
    )
    assert not list(tmp_path.iterdir())
    (tmp_path / "taken").write_text("a file")
    assert "cannot be written" in draw(tmp_path / "taken" / "a.png", lambda figure: None)
