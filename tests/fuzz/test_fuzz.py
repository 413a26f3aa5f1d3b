"""Mutated inputs of every kind end with a result or one sentence; `python -m fuzz` says how one is met again."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux how much memory is taken")


@pytest.mark.slow
def test_whatever_comes_in() -> None:
    for package in ("onnx", "torch", "distributed", "pyarrow"):
        pytest.importorskip(package)
    assert fuzz("--inputs", "2000").startswith("2000 inputs")


def test_a_few_of_what_comes_in() -> None:
    kinds = "image,vrt,model,sidecar,area,journal,ledger"
    assert fuzz("--inputs", "14", "--kinds", kinds, "--processes", "1").startswith("14 inputs")


def fuzz(*arguments: str) -> str:
    """What is printed, where nothing went wrong."""
    paths = [str(ROOT / folder) for folder in ("tests", "export", ".")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "fuzz", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
