"""What all drivers share: one tiny command line, and the CPU seconds until a tool was imported.

Each driver runs in its tool's own environment; this file needs nothing but Python.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import sys
import time
from pathlib import Path

TILE, HALO, BATCH = 256, 16, 8  # pixels that overlap: 2 * HALO


@dataclasses.dataclass(frozen=True)
class Task:
    """Two dates, or one image and a second that the tool has no place for; a model; where the map of 0 and 1 goes."""

    before: Path
    after: Path
    model: Path
    output: Path
    options: list[str]


def task() -> Task:
    """The command line: BEFORE AFTER MODEL OUTPUT, and what one driver alone understands."""
    parser = argparse.ArgumentParser()
    for name in ("before", "after", "model", "output"):
        parser.add_argument(name, type=Path)
    known, options = parser.parse_known_args()
    return Task(known.before, known.after, known.model, known.output, options)


def imported(*packages: str) -> None:
    """Print the versions of packages, and the CPU seconds that Python and the imports took."""
    versions = {name: importlib.metadata.version(name) for name in packages}
    print(json.dumps({"start_cpu": time.process_time(), "versions": versions}))
    sys.stdout.flush()
