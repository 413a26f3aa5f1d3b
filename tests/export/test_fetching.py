"""Published models by name: fetched once from a repository on loopback, made, kept, and found again without it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_server import Hub, environment, here, run, serving

pytest.importorskip("huggingface_hub")
torch = pytest.importorskip("torch")

from schanger_edge.errors import CheckpointError, ModelError, SchangerError  # noqa: E402
from schanger_edge.model.bundled import DEFAULT, model_path, names  # noqa: E402
from schanger_edge.model.fetching import cached  # noqa: E402
from schanger_edge.model.file import read_model  # noqa: E402
from schanger_edge.model.listing import listing  # noqa: E402
from schanger_edge.model.published import MODELS, PAGE, REPOSITORY  # noqa: E402
from schanger_edge.sessions import open_session  # noqa: E402
from schanger_export import cards  # noqa: E402
from schanger_export.numpy_network import Reference  # noqa: E402
from schanger_export.parity import image_like_tiles  # noqa: E402

FILE, TILE = "schanger_small_levir.pth", 32
SMALL_TILES = f"import schanger_export.cards as cards; cards.TILE = {TILE}; "


@pytest.fixture
def hub(content: bytes) -> Iterator[Hub]:
    with serving(Hub(REPOSITORY, {FILE: content})) as hub:
        yield hub


@pytest.fixture
def home(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process asks the hub, keeps models in this folder, and makes them of small tiles."""
    here(monkeypatch, hub, tmp_path / "home" / "hub")
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "home" / "cache"))
    monkeypatch.setattr(cards, "TILE", TILE)
    return tmp_path / "home"


def test_fetched_made_checked_kept_said_and_then_found(
    hub: Hub, home: Path, weights: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, int, int]] = []
    caplog.set_level(logging.INFO, "schanger_edge")
    path = model_path("LEVIR-CD:small", lambda *at: heard.append(at))
    assert path == home / "cache" / "models" / "schanger-small-levir-cd.onnx"
    (said,) = caplog.messages
    assert said.startswith(f"levir-cd:small: weights from {PAGE}, model built and checked (largest difference ")
    assert said.endswith(str(path))
    assert list(dict.fromkeys(stage for stage, _, _ in heard)) == ["fetch", "check"]
    card = read_model(path).card
    assert (card.name, card.dataset, card.gsd, card.tile) == ("schanger-small-levir-cd", "levir-cd", 0.5, TILE)
    tiles = image_like_tiles(2, TILE, seed=1)
    state = {name: value.numpy() for name, value in weights("small").items()}
    with open_session(path) as session:
        wanted = Reference(state, card.normalization).run(*tiles)
        np.testing.assert_allclose(session.run(*tiles), wanted, rtol=0, atol=2e-5)

    asked, made = len(hub.requests), path.stat().st_mtime_ns
    assert model_path("levir-cd:small", lambda *at: heard.append(at)) == path
    assert (len(hub.requests), len(caplog.messages), path.stat().st_mtime_ns) == (asked, 1, made)


def test_a_damaged_model_is_made_again(home: Path) -> None:
    path = model_path("levir-cd:small")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert cached("levir-cd:small") is None
    assert model_path("levir-cd:small").read_bytes() == whole


def test_two_processes_at_once_make_it_once(hub: Hub, tmp_path: Path) -> None:
    code = SMALL_TILES + "from schanger_edge.model.bundled import model_path; print(model_path('levir-cd:small'))"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment(hub, tmp_path), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]  # fmt: skip
    first, second = (process.communicate(timeout=300)[0] for process in started)
    assert first == second
    assert [process.returncode for process in started] == [0, 0]
    assert hub.downloads() == [""]
    read_model(Path(first.strip()))
    assert not list(Path(first.strip()).parent.glob(".schanger*.onnx"))


def test_no_network_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    gone = Hub(REPOSITORY, port=1)
    done = run(gone, tmp_path, "-m", "schanger_edge", "fetch", "whu-cd:base")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().startswith("error: weights whu-cd:base are not in the cache")
    assert done.stderr.strip().count("\n") == 0
    assert "run once with a network" in done.stderr
    assert not list((tmp_path / "cache").rglob("*.onnx"))


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("levir-cd", "levir-cd comes in two sizes: use levir-cd:small or levir-cd:base"),
        ("levir-cd:large", "does not exist: use an .onnx file, one of schanger-small, .* such as levir-cd:small"),
        ("pretrain:small", "does not exist"),
    ],
)
def test_names_that_are_none(name: str, pattern: str) -> None:
    with pytest.raises(ModelError, match=pattern):
        model_path(name)


def test_weights_that_do_not_fit_are_refused(hub: Hub, home: Path, weights: Callable[..., Any]) -> None:
    file = io.BytesIO()
    torch.save({"state_dict": {name: value * np.nan for name, value in weights("small").items()}}, file)
    hub.files[FILE] = file.getvalue()
    with pytest.raises((ModelError, CheckpointError)):
        model_path("levir-cd:small")
    assert cached("levir-cd:small") is None


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"the model cache .* cannot be written .*: set SCHANGER_EDGE_CACHE to a"):
        model_path("levir-cd:small")


@pytest.mark.parametrize("package", ["onnx", "huggingface_hub"])
def test_without_the_extra(hub: Hub, tmp_path: Path, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = ['fetch', 'levir-cd:small']; "
    done = run(hub, tmp_path, "-c", code + "from schanger_edge.cli import main; main()")
    assert done.returncode == 2
    assert f"error: {package} is not installed: pip install 'schanger-edge[models]'." in done.stderr
    assert not hub.downloads()


def test_fetch_writes_a_file_of_ones_own(hub: Hub, tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    code = SMALL_TILES + f"import sys; sys.argv[1:] = ['fetch', 'levir-cd:small', '-o', {str(own)!r}]; "
    done = run(hub, tmp_path, "-c", code + "from schanger_edge.cli import main; main()")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"levir-cd:small: {own}\n"
    assert done.stderr.count("model built and checked") == 1
    assert read_model(own).card.dataset == "levir-cd"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name the models to fetch"),
        (["--all", "levir-cd:base"], "name the models to fetch"),
        (["--all", "-o", "m.onnx"], "-o takes one model"),
    ],
)
def test_fetch_refuses(arguments: list[str], words: str) -> None:
    from schanger_edge.cli import app

    with pytest.raises(SchangerError, match=words):
        app(["fetch", *arguments], standalone_mode=False)


def test_models_are_listed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from schanger_edge.cli import app

    def listed() -> dict[str, Any]:
        app(["models", "--json"], standalone_mode=False)
        found = json.loads(capsys.readouterr().out)["models"]
        return {one["name"]: one for one in found}

    before = listed()
    assert list(before) == [*names(), *MODELS]
    assert {before[name]["where"] for name in MODELS} == {"published"}
    assert before[DEFAULT]["where"] == "bundled"
    path = model_path("levir-cd:small")
    after = listed()["levir-cd:small"]
    assert (after["where"], after["file"], after["bytes"]) == ("fetched", str(path), path.stat().st_size)
    assert (after["f1"], after["gsd"], after["off_nadir"]) == ({"levir-cd/test": 92.4391}, [0.5, 0.5], False)
    assert abs(before["levir-cd:small"]["bytes"] / path.stat().st_size - 1) < 0.05

    app(["models"], standalone_mode=False)
    text = capsys.readouterr().out
    for one in listing():
        assert one.name in text
        assert one.license in text
    assert "off-nadir" in text
