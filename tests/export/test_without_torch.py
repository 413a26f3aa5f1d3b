"""The published models in an environment of their own, which has the extra `models` alone: no torch."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import ROOT
from hub_server import Hub, environment, serving

pytest.importorskip("huggingface_hub")
torch = pytest.importorskip("torch")

from schanger_edge.model.published import REPOSITORY  # noqa: E402
from schanger_edge.synthetic import write_pair  # noqa: E402
from schanger_export.weights import CHUNK  # noqa: E402

pytestmark = pytest.mark.slow
SMALL, BASE = "schanger_small_levir.pth", "schanger_base_whu.pth"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that has this checkout with [models]."""
    place = tmp_path_factory.mktemp("environment")
    with_uv("venv", "--allow-existing", "--python", sys.executable, place)
    install(place / "bin" / "python", "[models]")
    return place / "bin" / "python"


def install(python: Path, extras: str) -> None:
    with_uv("pip", "install", "--python", python, f"{ROOT}{extras}")
    assert "torch" not in with_uv("pip", "list", "--python", python)


def with_uv(*arguments: Any) -> str:
    command = [pytest.importorskip("uv").find_uv_bin(), *map(str, arguments)]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def model_of(folder: Path) -> str:
    """The model that a run was made with."""
    name: str = json.loads((folder / "summary.json").read_text())["model"]["card"]["name"]
    return name


@pytest.fixture(scope="module")
def hub(weights: Callable[..., Any]) -> Iterator[Hub]:
    files = {}
    for name, size in ((SMALL, "small"), (BASE, "base")):
        file = io.BytesIO()
        torch.save({"state_dict": weights(size)}, file)
        files[name] = file.getvalue()
    with serving(Hub(REPOSITORY, files)) as hub:
        yield hub


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


class Edge:
    """`schanger-edge` of that environment, in a folder of its own and without this checkout on its path."""

    def __init__(self, python: Path, hub: Hub, home: Path) -> None:
        self.program, self.home = python.with_name("schanger-edge"), home
        self.environment = environment(hub, home, PYTHONPATH="")

    def start(self, *arguments: Any) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [str(self.program), *map(str, arguments)]
        return subprocess.Popen(command, env=self.environment, cwd=self.home, **pipes)

    def __call__(self, *arguments: Any) -> tuple[str, str]:
        process = self.start(*arguments)
        told = process.communicate(timeout=900)
        assert process.returncode == 0, told
        return told


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pair = write_pair(tmp_path_factory.mktemp("scene"), width=300, height=280, gsd=0.5, seed=3)
    return pair.before, pair.after


def test_fetch_interrupted_resumed_run_offline_watch_and_batch(
    python: Path, hub: Hub, home: Path, images: tuple[Path, Path]
) -> None:
    edge = Edge(python, hub, home)

    hub.pause = 0.5  # two seconds and more for the small one: killed on the way
    process = edge.start("fetch", "levir-cd:small")
    while not (parts := [path for path in home.rglob("*.incomplete") if path.stat().st_size > 1 << 20]):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert parts
    hub.pause, hub.cuts = 0, [3 * CHUNK + 100, 5 * CHUNK]  # the connection breaks twice
    before = len(hub.downloads())
    out, err = edge("fetch", "levir-cd:small")
    assert "schanger-small-levir-cd.onnx" in out
    assert err.count("model built and checked (largest difference") == 1
    assert hub.downloads()[before:] == ["", f"bytes={3 * CHUNK}-", f"bytes={5 * CHUNK}-"]

    for name, label in (("levir-cd:small", "schanger-small-levir-cd"), ("whu-cd:base", "schanger-base-whu-cd")):
        _, err = edge("run", *images, "-o", home / label, "--model", name, "--device", "cpu")
        assert err.count("model built and checked") == (name == "whu-cd:base")
        assert model_of(home / label) == label

    gone = Edge(python, Hub(REPOSITORY, port=1), home)
    asked, began = len(hub.requests), time.monotonic()
    _, err = gone("run", *images, "-o", home / "again", "--model", "whu-cd:base", "--device", "cpu")
    assert "built" not in err
    assert (home / "again" / "change.tif").read_bytes() == (home / "schanger-base-whu-cd" / "change.tif").read_bytes()
    assert len(hub.requests) == asked
    print(f"the offline run took {time.monotonic() - began:.1f} s")

    inbox = home / "inbox"
    inbox.mkdir()
    for date, image in zip(("2020-01-01", "2021-01-01"), images, strict=True):
        (inbox / f"town_{date}.tif").write_bytes(image.read_bytes())
    gone("watch", inbox, "-o", home / "watched", "--once", "--settle", "1s", "--model", "levir-cd:small")
    (watched,) = (home / "watched").rglob("summary.json")
    assert model_of(watched.parent) == "schanger-small-levir-cd"

    install(python, "[models,products,station]")
    with (home / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "before", "after"], ["town", *images]])
    gone("batch", home / "pairs.csv", "-o", home / "batched", "--model", "levir-cd:small", "--workers", "1")
    strangers = [path for _, path, _ in hub.requests if not path.startswith((f"/{REPOSITORY}/", "/storage/"))]
    assert not strangers, "what would have left this machine"
    assert model_of(home / "batched" / "town") == "schanger-small-levir-cd"
