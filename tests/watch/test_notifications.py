"""Who hears of results: the hook, Prometheus, systemd, and whoever asks for the status."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from schanger_edge.cli import app
from schanger_edge.errors import SchangerError
from schanger_edge.watch import Wakeup, status
from schanger_edge.watch import station as station_module
from schanger_edge.watch.wakeup import ringing


@pytest.fixture
def cli() -> Iterator[Callable[..., Result]]:
    """The command line in this process; its signal handlers go afterwards."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))
    for number, handler in handlers.items():
        signal.signal(number, handler)


def hook_of(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def test_the_hook_gets_arguments_and_no_shell(station: Any, pair: str, tmp_path: Path) -> None:
    written = tmp_path / "written.json"
    code = f"import json, sys; json.dump(sys.argv[1:], open({str(written)!r}, 'w'))"
    station.once(hook=hook_of(code, "{result}", "{before}|{after}", "$(touch {name}); {unknown}"))
    assert json.loads(written.read_text()) == [
        str(station.output / "results" / pair),
        f"{station.inbox / 'a_20240501.tif'}|{station.inbox / 'a_20240502.tif'}",
        f"$(touch {pair}); {{unknown}}",
    ]


@pytest.mark.parametrize(
    ("code", "reason"),
    [("raise SystemExit(3)", "exited with code 3"), ("import time; time.sleep(60)", "took longer than 0.3 s")],
)
def test_a_hook_that_fails_is_recorded(station: Any, pair: str, code: str, reason: str) -> None:
    found = station.once(hook=hook_of(code), hook_timeout=0.3)
    assert (found.results, found.counts["failed"]) == (1, 0)
    assert [(error["what"], reason in error["reason"]) for error in found.errors] == [(pair, True)]


def test_a_hook_that_was_cut_short_runs_again(
    station: Any, pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    worker = importlib.import_module("schanger_edge.watch.worker")
    hook = hook_of(f"open({str(tmp_path / 'written')!r}, 'a').write('x')")
    with monkeypatch.context() as patch:
        patch.setattr(worker, "run_hook", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            station.once(hook=hook)
    station.once(hook=hook)
    station.once(hook=hook)
    assert (tmp_path / "written").read_text() == "x"


def test_metrics_for_prometheus(station: Any, pair: str, tmp_path: Path) -> None:
    (station.inbox / "bad.tif").write_text("hello")
    path = tmp_path / "watch.prom"
    station.once(metrics=path)
    text = path.read_text()
    assert text.endswith("\n")
    values = {}
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{state="[a-z]+"\})? [-+.e\d]+', line), line
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert f"# TYPE {name.split('{')[0]} " in text
            values[name.removeprefix("schanger_edge_watch_")] = float(value)
    assert values['scenes{state="quarantined"}'] == 1
    assert (values["queue"], values["results_total"], values["pixels_total"]) == (0, 1, 64 * 64)
    assert (values["scenes_waiting"], values["paused"]) == (1, 0)
    assert values["last_result_timestamp_seconds"] > 1.7e9
    assert path.stat().st_mode & 0o777 == 0o644
    assert [other.name for other in tmp_path.glob("*watch*")] == ["watch.prom"]


def test_metrics_need_their_package(station: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        SchangerError, match=r"prometheus_client is not installed: pip install 'schanger-edge\[station\]'"
    ):
        station.once(metrics=tmp_path / "watch.prom")


def test_metrics_that_cannot_be_written_stop_nothing(station: Any, pair: str, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("a file")
    assert station.once(metrics=tmp_path / "none" / "watch.prom").results == 1
    assert sum("watch.prom cannot be written" in text for text in station.reported) == 1


def test_status_on_the_command_line(station: Any, pair: str, cli: Callable[..., Result]) -> None:
    (station.inbox / "bad.tif").write_text("hello")
    done = cli("watch", station.inbox, "-o", station.output, "--once", "--settle", "50ms", "--min-free", "0",
               "--model", station.model, "--device", "cpu", "--progress", "json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"published {pair}" in done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {one["pair"] for one in told} == {pair}
    assert told[-1]["stage"] == "finish"
    assert told[-1]["done"] == told[-1]["total"]
    text = cli("status", station.output)
    assert text.exit_code == 0, text.output
    lines = text.stdout.splitlines()
    assert lines[0].startswith("stopped, 0 queued (last seen ")
    assert lines[1] == "queue: 0 pairs; 1 scenes without an earlier one"
    assert re.fullmatch(r"results: 1, 1 in the last 24 hours, \d+\.\d\d megapixels per second", lines[2])
    assert lines[3] == "failed pairs: 0; scenes in quarantine: 1, duplicates: 0, expired: 0"
    assert "bad.tif cannot be opened as an image" in lines[4]
    found = json.loads(cli("status", station.output, "--json").stdout)
    assert found["counts"]["quarantined"] == 1
    assert found["errors"][0]["what"] == "bad.tif"


def test_status_of_a_folder_without_a_watch(tmp_path: Path) -> None:
    with pytest.raises(SchangerError, match=r"has no watch\.sqlite: give the folder"):
        status(tmp_path)


def test_systemd_is_notified(station: Any, pair: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(str(tmp_path / "s"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
        hears.settimeout(60)
        messages: list[str] = []

        def hear() -> None:
            while not messages or messages[-1] != "STOPPING=1":
                messages.append(hears.recv(4096).decode())

        thread = threading.Thread(target=hear)
        thread.start()
        station.once()
        thread.join()
    assert messages[:2] == ["READY=1", "WATCHDOG=1"]
    assert f"STATUS=running {pair}" in messages


def test_a_supervisor_that_does_not_listen_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(station_module, "_PATIENCE", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "s"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
        for _ in range(20):
            station_module.notify("WATCHDOG=1")
        deaf.setblocking(False)
        assert deaf.recv(100) == b"WATCHDOG=1"
    station_module.notify("WATCHDOG=1")  # it has gone altogether


def test_sigterm_finishes_the_pair_and_ends_well(station: Any, pair: str) -> None:
    (station.inbox / "a_20240503.tif").write_bytes((station.inbox / "a_20240501.tif").read_bytes())
    command = [sys.executable, "-m", "schanger_edge", "watch", station.inbox, "-o", station.output, "--poll", "1s",
               "--settle", "50ms", "--min-free", "0", "--model", station.model, "--device", "cpu"]  # fmt: skip
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        while not lines or not lines[-1].startswith("published"):
            lines.append(process.stderr.readline())
            assert process.poll() is None, lines
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "stopped: no pair is queued.\n")
    assert status(station.output).state == "stopped, 0 queued"


def test_events_of_the_system_wake_the_watch(tmp_path: Path) -> None:
    pytest.importorskip("watchdog")
    wakeup = Wakeup()
    with ringing(wakeup, tmp_path, print):
        began = time.monotonic()
        wakeup.wait(0.2)  # nothing happens
        assert time.monotonic() - began >= 0.2
        (tmp_path / "a.tif").write_bytes(b"x")
        began = time.monotonic()
        wakeup.wait(60)
        assert time.monotonic() - began < 60


@pytest.fixture
def plain_user() -> Iterator[None]:
    """This thread, and those that it starts, may read what its user may, also where that is root."""
    if not sys.platform.startswith("linux"):
        pytest.skip("capabilities are Linux's")
    libc, version = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: bits 0 to 31, then 32 to 63
    assert libc.capget(version, held) == 0
    assert libc.capset(version, (ctypes.c_uint32 * 6)(0, *held[1:3], 0, *held[4:])) == 0
    yield
    assert libc.capset(version, held) == 0


@pytest.mark.usefixtures("plain_user")
def test_a_folder_that_may_not_be_read_leaves_events_of_the_others(tmp_path: Path) -> None:
    pytest.importorskip("watchdog")
    for name in ("a/deep", "private", "z"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "private").chmod(0)
    with pytest.raises(PermissionError):
        os.listdir(tmp_path / "private")
    wakeup, reported = Wakeup(), []
    with ringing(wakeup, tmp_path, reported.append):
        for folder in (".", "a", "a/deep", "z"):
            while _heard(wakeup, 0.3):
                pass
            (tmp_path / folder / "new.tif").touch()
            assert _heard(wakeup, 20)
    assert not reported


def _heard(wakeup: Wakeup, seconds: float) -> bool:
    began = time.monotonic()
    wakeup.wait(seconds)
    return time.monotonic() - began < seconds


def test_a_folder_without_events_is_listed_from_time_to_time(
    station: Any, drop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a system that watches as many as it can already, whose refusal is played."""
    observers = pytest.importorskip("watchdog.observers")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(observers.Observer, "schedule", refuse)
    monkeypatch.setattr(importlib.import_module("schanger_edge.watch.loop"), "RESCAN", 0.02)
    for day in (1, 2):
        drop(f"a_2024050{day}.tif")
    station.until(lambda text: text.startswith("published"), poll=None)
    assert station.reported[1] == (
        f"{station.inbox} cannot be watched for events (Permission denied): it is listed every 30 seconds instead."
    )


def test_watchdog_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchdog.events", None)
    with (
        pytest.raises(SchangerError, match=r"pip install 'schanger-edge\[station\]'"),
        ringing(Wakeup(), tmp_path, print),
    ):
        pass


def test_a_bell_that_is_rung_too_often() -> None:
    wakeup = Wakeup()
    for _ in range(100_000):
        wakeup.ring()
    wakeup.wait(60)
    began = time.monotonic()
    wakeup.wait(0.05)
    assert time.monotonic() - began >= 0.05  # all of it was heard at once


@pytest.mark.skipif(os.name != "posix", reason="kills a process group")
def test_a_hook_that_is_killed_takes_its_children_along(station: Any, pair: str, tmp_path: Path) -> None:
    written = tmp_path / "written"
    child = f"import time; time.sleep(1.5); open({str(written)!r}, 'w')"
    station.once(
        hook=hook_of(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"), hook_timeout=0.3
    )
    time.sleep(2)
    assert not written.exists()


def test_a_bell_whose_time_is_up_before_it_waits() -> None:
    """As on a machine that is busy with something else."""

    def listen() -> None:
        for _ in range(1000):
            Wakeup().wait(1e-6)

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    listening.join(60)
    assert not listening.is_alive()
