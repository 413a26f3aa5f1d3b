"""A whole run of one large pair by two or more checkouts: seconds, memory and accuracy, interleaved.

`python benchmarks/scene_end_to_end.py --a before=OLD/.venv/bin/python,OLD --b after=NEW/.venv/bin/python,NEW \\
--b bf16=NEW/.venv/bin/python,NEW,cpu:native:bf16`

Each checkout is NAME=PYTHON,FOLDER[,DEVICE]: the interpreter, the folder from which its package is imported, and the
engine (auto). The pair is rendered (exact truth, no nodata). Every run is a process of its own, `schanger-edge run`
with its defaults but for --threads and --device, all products. wall and cpu (user + system) are of that process from
its start to its end; peak is its resident memory. f1 is of change.tif against the truth. `ratios` are A / B, round by
round, `further_ratios` those of a second B. The first round warms caches and the trial of the engines, and does not
count.

With --without-network a session takes the place of the network that gives the map of an earlier run again, tile by
tile, so that opening, reading, tiling and products of the command are left. `load` is
the machine's load average at begin and end: where it was above 0.5, walls mean little, and CPU seconds are up to twice
those of a quiet machine. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from common import save

from schanger_edge.evaluation.scores import Counts
from schanger_edge.synthetic import write_pair

_TOLD = """
import atexit, pathlib, resource, sys
told = pathlib.Path(sys.argv[1])
def tell():
    own = resource.getrusage(resource.RUSAGE_SELF)
    peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
    told.write_text(f"{own.ru_utime + own.ru_stime} {int(peak) / 1024}")
atexit.register(tell)
"""
_RUN = """
from schanger_edge.cli import main
sys.argv[:2] = ["schanger-edge"]
main()
"""
_REPLAY = """
import numpy as np
import schanger_edge.run.detect
from schanger_edge.cli import main
from schanger_edge.model.bundled import model_path
from schanger_edge.model.file import read_model
from schanger_edge.run.predict import COLUMN, section_tiles
from schanger_edge.sessions import session
from schanger_edge.tiling.plan import TilePlan, blend_of

class Replay(getattr(session, "OneAtATime", session.Session)):
    card, model, model_sha256 = read_model(model_path(None)).card, model_path(None), "0" * 64
    device, best_batch = "probability of an earlier run", 8

    def __init__(self, whole):
        self.notes, self.whole, card = [], whole, self.card
        plan = TilePlan(whole.shape[1], whole.shape[0], card.tile, card.halo, blend_of(card.tile, card.halo))
        sections = plan.sections(section_tiles(card.tile), COLUMN)
        self.windows = iter([tile.window for section in sections for strip in section.strips() for tile in strip])

    def run(self, before, after):
        out = np.empty((len(before), 1, self.card.tile, self.card.tile), np.float32)
        for one, window in zip(out, self.windows):
            one[0] = self.whole[window.row_off : window.row_end, window.col_off : window.col_end]
        return out

    def close(self):
        pass

before, after, folder, whole = sys.argv[2:]
schanger_edge.run.detect.open_session = lambda *_, **__: Replay(np.load(whole))
sys.argv = ["schanger-edge", "run", before, after, "-o", folder]
main()
"""


class Checkout(NamedTuple):
    """Whose run is measured, and on which engine."""

    name: str
    python: str
    folder: Path
    device: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--a", type=checkout, required=True, help="NAME=PYTHON,FOLDER[,DEVICE]")
    parser.add_argument("--b", type=checkout, required=True, action="append", help="the same; may be given again")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--threads", type=int, help="of all; their default where none is given")
    parser.add_argument("--scene", type=Path, help="folder of the rendered pair, made where it is missing")
    parser.add_argument("--without-network", type=Path, metavar="MAP", help="probability.tif of a run of --scene")
    parser.add_argument("--name", default="scene_end_to_end", help="of the result")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more.")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        scene = options.scene or work / "scene"
        if not (scene / "truth.tif").exists():
            write_pair(scene, width=options.side, height=options.side, seed=1, nodata_wedge=False)
        flags = ["--threads", str(options.threads)] if options.threads else []
        save(options.name, compare(options, scene, work, flags))


def checkout(text: str) -> Checkout:
    name, _, rest = text.partition("=")
    python, _, rest = rest.partition(",")
    folder, _, device = rest.partition(",")
    if not (shutil.which(python) and (Path(folder) / "schanger_edge").is_dir()):
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PYTHON,FOLDER with an interpreter and a checkout.")
    return Checkout(name, python, Path(folder).absolute(), device or "auto")


def compare(options: argparse.Namespace, scene: Path, work: Path, flags: list[str]) -> dict[str, Any]:
    """The result for the file."""
    checkouts: list[Checkout] = [options.a, *options.b]
    whole = None
    if options.without_network:
        whole = work / "whole.npy"
        with rasterio.open(options.without_network) as image:
            np.save(whole, image.read(1).astype(np.float32) / np.float32(254))
    load = os.getloadavg()[0]
    runs: dict[str, list[dict[str, float]]] = {own.name: [] for own in checkouts}
    for number in range(options.rounds + 1):
        for own in checkouts:
            found = one_run(own, scene, work / own.name, ["--device", own.device, *flags], whole)
            sys.stderr.write(f"{number} {own.name} {found}\n")
            if number:
                runs[own.name].append(found)
    return {
        "method": __doc__,
        "side": options.side,
        "rounds": options.rounds,
        "network": options.without_network is None,
        "devices": {own.name: own.device for own in checkouts},
        "flags": flags,
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
        "runs": runs,
        "medians": {name: {key: median(found, key) for key in found[0]} for name, found in runs.items()},
        "ratios": ratios(runs[options.a.name], runs[options.b[0].name]),
        "further_ratios": {own.name: ratios(runs[options.a.name], runs[own.name]) for own in options.b[1:]},
    }


def ratios(first: list[dict[str, float]], second: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """A / B, round by round: median and extremes."""
    found = {key: [a[key] / b[key] for a, b in zip(first, second, strict=True)] for key in ("wall", "cpu", "peak_mb")}
    kinds = {"median": statistics.median, "least": min, "largest": max}
    return {key: {kind: round(of(values), 3) for kind, of in kinds.items()} for key, values in found.items()}


def median(found: list[dict[str, float]], key: str) -> float:
    return round(statistics.median(own[key] for own in found), 4)


def one_run(own: Checkout, scene: Path, folder: Path, flags: list[str], whole: Path | None = None) -> dict[str, float]:
    """Wall and CPU seconds, peak memory in MB, F1 and the report's megabytes of one process."""
    shutil.rmtree(folder, ignore_errors=True)
    told = folder.with_name("told")
    images = [str(scene.absolute() / f"{date}.tif") for date in ("before", "after")]
    command = (
        [_TOLD + _RUN, str(told), "run", *images, "-o", str(folder), *flags]
        if whole is None
        else [_TOLD + _REPLAY, str(told), *images, str(folder), str(whole)]
    )
    path = os.pathsep.join(str(own.folder / part) for part in ("", "export"))
    began = time.perf_counter()
    done = subprocess.run(
        [own.python, "-c", *command],
        env={**os.environ, "PYTHONPATH": path},
        cwd=own.folder,  # Python looks there first
        capture_output=True,
        text=True,
        check=False,
    )
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{own.name} failed:\n{done.stderr}")
    cpu, peak = map(float, told.read_text().split())
    report = (folder / "report.html").stat().st_size / 1e6
    numbers = {"wall": wall, "cpu": cpu, "peak_mb": peak, "f1": f1(folder, scene), "report_mb": report}
    return {name: round(value, 4) for name, value in numbers.items()}


def f1(folder: Path, scene: Path) -> float:
    """Of change.tif against the truth."""
    with rasterio.open(folder / "change.tif") as change, rasterio.open(scene / "truth.tif") as truth:
        return Counts.of(change.read(1) == 1, truth.read(1) > 0).f1


if __name__ == "__main__":
    main()
