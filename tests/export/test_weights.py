"""Weights by name, with the real client of the Hub against a repository on loopback."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_server import Hub, environment, here, run, serving

pytest.importorskip("huggingface_hub")
torch = pytest.importorskip("torch")

from schanger_edge.errors import CheckpointError  # noqa: E402
from schanger_export import weights as module  # noqa: E402
from schanger_export.weights import CHUNK, REPOSITORY, find, resolve  # noqa: E402

SMALL, BASE, PRIOR = "schanger_small_levir.pth", "schanger_base_whu.pth", "schanger_small_pretrain.pth"


@pytest.fixture
def hub(content: bytes) -> Iterator[Hub]:
    files = {SMALL: content, BASE: b"no checkpoint at all", PRIOR: content[:1000]}
    with serving(Hub(REPOSITORY, files)) as hub:
        yield hub
        strangers = [path for _, path, _ in hub.requests if not path.startswith((f"/{REPOSITORY}/", "/storage/"))]
        assert not strangers


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def export(hub: Hub, home: Path, *arguments: Any, **more: str) -> subprocess.CompletedProcess[str]:
    return run(hub, home, "-m", "schanger_edge", "export", "--tile", 32, *arguments, **more)


def fetch(hub: Hub, home: Path, name: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The library's part alone, which needs no torch; prints the path."""
    code = (
        "import sys; from schanger_export.weights import resolve; print(resolve(sys.argv[1])); assert 'torch' not in "
        "sys.modules"
    )
    return run(hub, home, "-c", code, name, **more)


def fetched(done: subprocess.CompletedProcess[str]) -> bytes:
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return Path(done.stdout.strip()).read_bytes()


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_fetched_once_exported_and_there_when_the_hub_is_gone(hub: Hub, home: Path, content: bytes) -> None:
    target = home.parent / "model.onnx"
    done = export(hub, home, "--weights", "LEVIR-CD:small", "-o", target)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    card = json.loads(run(hub, home, "-m", "schanger_edge", "info", target).stdout)
    assert (card["name"], card["size"], card["dataset"]) == ("schanger-small-levir-cd", "small", "levir-cd")
    assert (card["tile"], card["gsd"], card["weights_sha256"]) == (32, 0.5, hashlib.sha256(content).hexdigest())
    assert card["license"] == "see https://huggingface.co/Zy-Zhou/schanger"
    assert hub.downloads() == [""]

    assert fetched(fetch(hub, home, "levir-cd:small")) == content
    assert hub.downloads() == [""]
    asked = len(hub.requests)
    assert fetched(fetch(hub, home, "levir-cd:small", HF_HUB_OFFLINE="1")) == content
    assert len(hub.requests) == asked
    gone = Hub(REPOSITORY, port=1)
    assert fetched(fetch(gone, home, "levir-cd:small")) == content


def test_a_cut_download_goes_on_where_it_stopped(hub: Hub, home: Path, content: bytes) -> None:
    hub.cuts = [3 * CHUNK + 100, 5 * CHUNK]
    assert fetched(fetch(hub, home, "levir-cd:small")) == content
    assert hub.downloads() == ["", f"bytes={3 * CHUNK}-", f"bytes={5 * CHUNK}-"]


def test_a_download_that_fails_leaves_nothing_and_the_next_is_whole(hub: Hub, home: Path, content: bytes) -> None:
    hub.cuts = [CHUNK, -1]
    refused(export(hub, home, "--weights", "levir-cd:small", "-o", home / "m.onnx"), hub.url, "503", "try again later")
    assert not [path for path in home.rglob("*") if path.is_file() and path.stat().st_size >= CHUNK]
    assert fetched(fetch(hub, home, "levir-cd:small")) == content


def test_no_network_and_nothing_in_the_cache(home: Path) -> None:
    gone = Hub(REPOSITORY, port=1)
    arguments = ("--weights", "sysu-cd", "--size", "base", "-o", home / "m.onnx")
    words = ("weights sysu-cd:base are not in the cache", str(home), "run once with a network", "give the path of a")
    refused(export(gone, home, *arguments), *words, "127.0.0.1:1 failed (", "refused")
    refused(export(gone, home, *arguments, HF_HUB_OFFLINE="1"), *words, "HF_HUB_OFFLINE is set: unset it")
    assert not (home / "m.onnx").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SSL_CERT_FILE", "/nonexistent/corp.pem", ("SSL_CERT_FILE=/nonexistent/corp.pem does not exist",)),
        ("ALL_PROXY", "socks5://127.0.0.1:9", ("fetching from http://127.0.0.1:1 failed (", "run once with a network")),
    ],
)
def test_settings_of_the_network_that_do_not_work(home: Path, name: str, value: str, words: tuple[str, ...]) -> None:
    gone = Hub(REPOSITORY, port=1)
    refused(export(gone, home, "--weights", "levir-cd:small", "-o", home / "m.onnx", **{name: value}), *words)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "EntryNotFound", f"not published at .* {REPOSITORY} has no {SMALL}; see https://huggingface"),
        (401, "RepoNotFound", "refused .* answered 401 .*: log in"),
        (403, "GatedRepo", "need permission: accept the terms at https://huggingface"),
        (403, "", "refused .* answered 403"),
        (500, "", "answered 500.: try again later"),
    ],
)
def test_refusals_of_the_hub(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
) -> None:
    with serving(Hub(REPOSITORY, {SMALL: content}, {SMALL: (status, code)})) as hub:
        here(monkeypatch, hub, tmp_path)
        with pytest.raises(CheckpointError, match=f"^weights levir-cd:small .*{words}.*, or give the path") as caught:
            resolve("levir-cd", "small")
    assert "\n" not in str(caught.value)
    assert len([path for _, path, _ in hub.requests if "/resolve/" in path]) == 1


def test_what_is_no_checkpoint_is_said_by_name(hub: Hub, home: Path) -> None:
    refused(export(hub, home, "--weights", "whu-cd:base", "-o", home / "m.onnx"), BASE, "damaged or not a torch file")
    assert not (home / "m.onnx").exists()


def test_a_full_disk(hub: Hub, small_disk: Path) -> None:
    done = export(hub, small_disk, "--weights", "levir-cd:small", "-o", small_disk / "m.onnx")
    refused(done, "weights levir-cd:small cannot be stored in", "No space left on device", "HF_HOME")


def test_the_bar_is_on_standard_error_of_a_terminal(hub: Hub, home: Path) -> None:
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 120, 0, 0))
    code = (
        "from schanger_export.weights import find; heard = []; find('levir-cd:small'); "
        "find('pretrain:small', progress=lambda *at: heard.append(at)); "
        "assert heard[-1] == ('fetch', 1000, 1000), heard"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(hub, home), stderr=terminal, check=True)
    os.close(terminal)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert SMALL in shown
    assert "100%" in shown
    assert PRIOR not in shown


def test_files_and_bundled_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "levir-cd:small"
    file.touch()
    assert find(file).card == {}
    assert resolve(str(file), "base") == file

    monkeypatch.setattr(module, "BUNDLED", tmp_path / "none")
    assert module.bundled_names() == []
    with pytest.raises(CheckpointError, match=r"^weights schanger-small are neither .* after it\.$"):
        find("schanger-small")
    monkeypatch.setattr(module, "BUNDLED", tmp_path)
    (tmp_path / "schanger-small.pth").touch()
    assert resolve("schanger-small") == tmp_path / "schanger-small.pth"
    with pytest.raises(CheckpointError, match=r"after it, or schanger-small\.$"):
        find("schanger-large")


@pytest.mark.parametrize(
    ("name", "size", "pattern"),
    [
        (
            "levir:base",
            None,
            r"levir:base are neither a file nor a known name: use one of levir-cd, .*whu-cd or pretrain",
        ),
        ("levir-cd:large", None, "with :small or :base after it"),
        ("weights/best.pth", None, "weights/best.pth are neither a file nor"),
        ("levir-cd", None, "come in two sizes: use levir-cd:small or levir-cd:base"),
        ("levir-cd:", None, "come in two sizes"),
        ("pretrain:base", "small", "are for the base network, not small: omit the size"),
        ("", None, "neither a file"),
    ],
)
def test_a_wrong_name_lists_what_there_is(name: str, size: str | None, pattern: str) -> None:
    with pytest.raises(CheckpointError, match=pattern) as caught:
        resolve(name, size)
    assert "\n" not in str(caught.value)
