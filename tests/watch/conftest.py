"""A station: inbox, output folder, scenes of places and dates, and a watch that is run once over them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from schanger_edge.run.options import RunOptions
from schanger_edge.watch import Settings, Status, Wakeup, watch
from schanger_edge.watch.settings import Notification, Pairing, Service


@dataclasses.dataclass
class Station:
    """Two folders and the lines that the watch reported."""

    inbox: Path
    output: Path
    model: Path
    reported: list[str] = dataclasses.field(default_factory=list)

    def settings(self, **options: Any) -> Settings:
        """Settings from plain keywords; `hook` is a program with its arguments, `run` are options of a run."""
        options = {"settle": 0.02, "once": True, "min_free": 0, **options}
        if "hook" in options:
            options["hook"], *options["hook_args"] = options["hook"]
        run = RunOptions.of(model=self.model, threads=1, device="cpu", **options.pop("run", {}))
        groups = [
            kind(**{one.name: options.pop(one.name) for one in kind.described() if one.name in options})
            for kind in (Pairing, Service, Notification)
        ]
        assert not options
        return Settings(self.inbox, self.output, *groups, options=run)

    def once(self, **options: Any) -> Status:
        return watch(self.settings(**options), report=self.reported.append)

    def until(self, done: Callable[[str], bool], **options: Any) -> Status:
        """A watch that goes on until it has reported something."""
        wakeup = Wakeup()

        def report(text: str) -> None:
            self.reported.append(text)
            if done(text):
                wakeup.stop()

        settings = self.settings(**{"once": False, "poll": 0.02, **options})
        return watch(settings, wakeup=wakeup, report=report)

    @property
    def results(self) -> list[str]:
        return sorted(path.name for path in (self.output / "results").iterdir())

    def reason(self, name: str) -> str:
        return (self.output / "quarantine" / f"{name}.reason.txt").read_text()


@pytest.fixture
def station(tmp_path: Path, standin: ModuleType) -> Station:
    (tmp_path / "inbox").mkdir()
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=64, halo=4)
    return Station(tmp_path / "inbox", tmp_path / "out", tmp_path / "m.onnx")


@pytest.fixture
def drop(station: Station, ground: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """drop(name, place=, seed=, **profile): a scene of 64 pixels in the inbox."""

    def make(name: str, place: int = 0, seed: int | None = None, side: int = 64, **profile: Any) -> Path:
        path = station.inbox / name
        path.parent.mkdir(exist_ok=True)
        layout = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint8", "crs": "EPSG:32631"}
        layout["transform"] = Affine(0.5, 0, 500_000 + 1000 * place, 0, -0.5, 4_650_000)
        with rasterio.open(path, "w", **layout | profile) as dataset:
            dataset.write(ground(side, side, sum(name.encode()) if seed is None else seed))
        return path

    return make


@pytest.fixture
def pair(drop: Callable[..., Path]) -> str:
    """Two scenes of one place in the inbox; what their result is called."""
    drop("a_20240501.tif")
    drop("a_20240502.tif")
    return "a_20240502__a_20240501"
