"""What other tools cost and do on the same images with the same exact network, in one interleaved run.

`./make_environments.sh` first, then `python compare.py` (needs the `quantize` extra and Linux); `--table` prints the
tables of the last run.

Cost: each run is a process of its own in its tool's environment; CPU seconds are of all its threads, and with wall time
and peak resident memory include imports and opening. Tools take turns; a first round, at half the side, warms caches.
All read tiled, deflate-compressed uint8 GeoTIFFs of one grid and write a georeferenced map of 0 and 1, in tiles of 256
pixels that overlap by 32, by ONNX Runtime on the CPU with as many threads as each tool takes by itself. A tool of one
image gets the first date and the network without the second: half the reading, half the convolution. So each is set
against a bare loop of as many dates, start-up left out. `schanger-edge run` writes all its products.

Behaviour, on 1024 x 1024 pixels, in shares of pixels: against one pass of the network over the whole scene. Tools of
one image are also given both dates as six bands with a network of six, and the network that asks for two images.
`16 bits` is the same picture times 16 and times 257, against the tool's own map of 8 bits. In `two CRSs` the second
date lies in EPSG:3857; against one pass over both on the first grid, 5 pixels and more from where data ends. `no data`
is a quarter of the first date.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import facts  # noqa: E402
import models  # noqa: E402
import scenes  # noqa: E402
import tables  # noqa: E402
from common import RESULTS, repeat_scene, save  # noqa: E402
from driver import HALO, TILE  # noqa: E402

from schanger_edge.synthetic import write_pair  # noqa: E402

RENDERED, CENTIMETRES = 1024, 50


@dataclasses.dataclass(frozen=True)
class Tool:
    """One row: whose environment, driver and model; `behaves` where its behaviour is looked at too."""

    environment: str
    driver: str
    model: str
    dates: int
    writes: str
    options: tuple[str, ...] = ()
    behaves: bool = False
    limits: str = ""  # the option that takes MIN,MAX of 16 bits

    def command(self, pair: scenes.Pair, model: Path, output: Path, options: Sequence[str] = ()) -> list[str]:
        python = HERE / f".venv-{self.environment}" / "bin" / "python"
        words = [python, HERE / f"{self.driver}_driver.py", pair.before, pair.after, model, output]
        return [*map(str, words), *self.options, *options]


TOOLS = {
    "bare loop": Tool("ours", "bare", "image", 1, "one map", ("--dates", "1")),
    "GeoDeep": Tool("geodeep", "geodeep", "geodeep", 1, "one map, median filter"),
    "GeoDeep with scipy": Tool("geodeep-scipy", "geodeep", "geodeep", 1, "one map, median filter", behaves=True),
    "geoai ONNXGeoModel": Tool("geoai", "geoai", "geoai", 1, "one map", behaves=True),
    "bare loop, two dates": Tool("ours", "bare", "pair", 2, "one map"),
    "tiler + ONNX Runtime": Tool("tiler", "tiler", "pair", 2, "one map", behaves=True),
    "schanger-edge, maps": Tool("ours", "ours", "pair", 2, "two maps, overviews", ("--maps",)),
    "schanger-edge run": Tool("ours", "ours", "pair", 2, "all products", behaves=True, limits="--stretch"),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """What a process cost and said; `error` where it failed."""

    cost: dict[str, float]
    versions: dict[str, str]
    error: str | None


def measure(command: Sequence[str]) -> Run:
    """Run a driver by measure.py."""
    launcher = [sys.executable, "-I", "-S", str(HERE / "measure.py")]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*launcher, *command], capture_output=True, text=True, check=True, cwd=HERE, env=alone)
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    cost = said.pop()
    start = said[0] if said else {}
    error = facts.refusal(done.stderr) if cost.pop("code") else None
    return Run(cost | {"start_cpu": start.get("start_cpu", 0.0)}, start.get("versions", {}), error)


class Maps:
    """Runs tools into one folder and reads what they wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.models = {
            "pair": models.pair_model(folder / "pair.onnx", tile=TILE, halo=HALO),
            "image": models.image_model(folder / "image.onnx"),
            "whole pair": models.pair_model(folder / "whole.onnx", tile=None),
            "geoai": models.geoai_model(folder / "geoai.onnx"),
            "geoai, six bands": models.geoai_model(folder / "geoai6.onnx", bands=6),
        }
        form = {"tile": TILE, "halo": HALO, "centimetres": CENTIMETRES}
        self.models["geodeep"] = models.geodeep_model(folder / "geodeep.onnx", **form)
        self.models["geodeep, six bands"] = models.geodeep_model(folder / "geodeep6.onnx", **form, bands=6)

    def run(
        self, tool: Tool, pair: scenes.Pair, model: str | None = None, options: Sequence[str] = ()
    ) -> tuple[Run, np.ndarray, np.ndarray]:
        """What it cost; change and nodata (H, W), both empty where it failed."""
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            output = Path(folder) / "map.tif"
            run = measure(tool.command(pair, self.models[model or tool.model], output, options))
            if run.error is not None:
                return run, np.zeros((0, 0), bool), np.zeros((0, 0), bool)
            with rasterio.open(output) as image:
                return run, image.read(1) == 1, image.read_masks(1) == 0

    def one_pass(self, dates: int, pair: scenes.Pair) -> np.ndarray:
        """The map of the whole scene at once, of the first date or of both."""
        if dates == 1:
            return scenes.one_pass(self.models["image"], scenes.read(pair.before))
        return scenes.one_pass(self.models["whole pair"], scenes.read(pair.before), scenes.read(pair.after))


class Behaviour:
    """The cases on the small scene, and what a tool makes of them."""

    def __init__(self, maps: Maps, pair: scenes.Pair, folder: Path) -> None:
        self._maps, self._pair = maps, pair
        self._deep = {factor: scenes.sixteen_bits(pair, folder / f"x{factor}", factor) for factor in (16, 257)}
        self._hole = scenes.corner_without_data(pair, folder / "hole")
        self._warped = scenes.in_another_crs(pair, folder / "crs")
        self._stack = scenes.stacked(pair, folder / "stack.tif")

    def __call__(self, tool: Tool) -> dict[str, Any]:
        """The facts of one tool."""
        _, own, _ = self._maps.run(tool, self._pair)
        against = functools.partial(self._against, tool)
        found: dict[str, Any] = {"one pass": against(self._pair, self._maps.one_pass(tool.dates, self._pair))}
        found |= self._two_dates(tool)
        for factor, pair in self._deep.items():
            name = f"16 bits, values to {255 * factor}"
            found[name] = against(pair, own)
            if tool.limits:
                found[f"{name}, limits given"] = against(pair, own, options=[tool.limits, f"0,{255 * factor}"])
        found["two CRSs"] = self._two_systems(tool) if tool.dates == 2 else None
        found["no data"] = self._no_data(tool)
        return found

    def _against(
        self, tool: Tool, pair: scenes.Pair, reference: np.ndarray, where: np.ndarray | None = None, **how: Any
    ) -> dict[str, Any]:
        """Share of pixels that differ from a reference, or why there is no map."""
        run, change, _ = self._maps.run(tool, pair, **how)
        if run.error is not None:
            return {"refused": run.error}
        changed = {"changed": float(change.mean()), "changed_reference": float(reference.mean())}
        return {"differ": facts.share_differing(change, reference, where), **changed}

    def _two_dates(self, tool: Tool) -> dict[str, Any]:
        if tool.dates == 2:
            return {}
        reference, stack = self._maps.one_pass(2, self._pair), scenes.Pair(self._stack, self._stack)
        return {
            "two dates as six bands": self._against(tool, stack, reference, model=f"{tool.model}, six bands"),
            "a model of two inputs": self._against(tool, self._pair, reference, model="pair"),
        }

    def _two_systems(self, tool: Tool) -> dict[str, Any]:
        before, after, valid = scenes.on_one_grid(self._warped)
        reference = scenes.one_pass(self._maps.models["whole pair"], before, after)
        return self._against(tool, self._warped, reference, facts.away_from(~valid, models.RADIUS))

    def _no_data(self, tool: Tool) -> dict[str, Any]:
        run, change, nodata = self._maps.run(tool, self._hole)
        if run.error is not None:
            return {"refused": run.error}
        hole = np.zeros(change.shape, bool)
        hole[: hole.shape[0] // 2, : hole.shape[1] // 2] = True
        return facts.nodata_facts(change, nodata, hole)


def installed() -> tuple[dict[str, Tool], dict[str, str]]:
    """The tools that can run, and why others cannot be installed."""
    missing = {
        path.parent.name.removeprefix(".venv-"): path.read_text().strip() for path in HERE.glob(".venv-*/failed")
    }
    ready = {name: tool for name, tool in TOOLS.items() if (HERE / f".venv-{tool.environment}" / "ready").exists()}
    if {tool.environment for tool in TOOLS.values()} - {tool.environment for tool in ready.values()} - set(missing):
        raise SystemExit("Environments are missing: run make_environments.sh first.")
    return ready, missing


def timed(maps: Maps, tools: dict[str, Tool], rendered: scenes.Pair, folder: Path, side: int, rounds: int) -> Any:
    """Costs by tool, as they come: yields after each round what there is."""
    large, half = (
        scenes.Pair(*(repeat_scene(p, folder / f"{p.stem}{s}.tif", s) for p in (rendered.before, rendered.after)))
        for s in (side, side // 2)
    )
    references = {dates: maps.one_pass(dates, large) for dates in (1, 2)}
    rows = {name: {"dates": tool.dates, "writes": tool.writes} for name, tool in tools.items()}
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in tools}
    for name, tool in tools.items():  # the round that warms
        run, _, _ = maps.run(tool, half)
        rows[name] |= {"versions": run.versions, "peak_mb_at_half_the_side": round(run.cost["peak_mb"], 1)}
    for number in range(1, rounds + 1):
        for name, tool in tools.items():
            run, change, _ = maps.run(tool, large)
            if run.error is not None:
                raise SystemExit(f"{name} failed: {run.error}")
            costs[name].append(run.cost)
            rows[name] |= {"cost": facts.summary(costs[name])}
            rows[name] |= {"differ_from_one_pass": facts.share_differing(change, references[tool.dates])}
        sys.stderr.write(f"round {number} of {rounds}\n")
        yield number, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="print the tables of the last run")
    options = parser.parse_args()
    if options.table:
        result = json.loads((RESULTS / "peers.json").read_text())
        print(tables.cost_table(result), tables.behaviour_table(result), sep="\n\n")
        return
    tools, missing = installed()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maps = Maps(folder)
        sys.stderr.write("rendering\n")
        scene = write_pair(folder / "scene", width=RENDERED, height=RENDERED, seed=1, nodata_wedge=False)
        rendered = scenes.Pair(scene.before, scene.after)
        behaviour = Behaviour(maps, rendered, folder)
        found = {name: behaviour(tool) for name, tool in tools.items() if tool.behaves}
        for rounds, rows in timed(maps, tools, rendered, folder, options.side, options.rounds):
            told = {name: row | ({"behaviour": found[name]} if name in found else {}) for name, row in rows.items()}
            head = {"method": __doc__, "side": options.side, "rounds": rounds}
            save("peers", {**head, "not_installed": missing, "tools": told})


if __name__ == "__main__":
    main()
