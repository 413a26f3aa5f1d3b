"""The QGIS plugin's calls: environment, progress, cancelling, and errors in one sentence. No QGIS is needed."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest
from schanger_edge_qgis.child import Ended, Progress, call, clean_environment, parse_progress, problem
from schanger_edge_qgis.command import CommandError

TILES = {"stage": "change", "done": 12, "total": 64, "unit": "tiles", "rate": 3.1, "eta": 16.8}


def script(folder: Path, text: str) -> list[str]:
    path = folder / "program.py"
    path.write_text(f"import json, os, signal, sys, time\n{text}")
    return [sys.executable, str(path)]


def never() -> bool:
    return False


def test_the_child_gets_nothing_that_qgis_set_for_itself() -> None:
    of_qgis = ["PYTHONHOME", "PYTHONPATH", "GDAL_DATA", "GDAL_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA", "QT_PLUGIN_PATH"]
    of_qgis += ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH", "__PYVENV_LAUNCHER__"]
    others = {"PATH": "/bin", "HOME": "/home/me", "GDAL_HTTP_BEARER": "x", "AWS_REGION": "y", "OMP_NUM_THREADS": "1"}
    found = clean_environment({**dict.fromkeys(of_qgis, "/opt/qgis"), **others})
    assert {name: found[name] for name in others} == others
    assert set(found) - set(others) == {"PYTHONIOENCODING", "PYTHONUNBUFFERED", "PYTHONSAFEPATH"}


def test_it_starts_in_that_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # no Python starts with it
    monkeypatch.setenv("GDAL_DATA", "/nowhere")
    ended = call(script(tmp_path, "print(os.environ.get('GDAL_DATA'), 'ä')"), print, never)
    assert (ended.code, ended.output.split()) == (0, ["None", "ä"])


def test_progress_is_read() -> None:
    found = parse_progress(json.dumps(TILES))
    assert found == Progress("change", 12, 64, "tiles", 16.8)
    assert (found.percent, found.tenth, str(found)) == (18.75, 1, "change: 12 of 64 tiles, 17 s left")
    unknown = parse_progress(json.dumps({**TILES, "total": None, "eta": None}))
    assert unknown is not None
    assert (unknown.percent, unknown.tenth, str(unknown)) == (None, 0, "change: 12 tiles")
    assert str(parse_progress(json.dumps({**TILES, "done": 64, "eta": 0.0}))) == "change: 64 of 64 tiles"
    whole = Progress("predict", 1_250_000, 4_000_000_000, "pixels", 3601)
    assert str(whole) == "predict: 1.2 of 4,000.0 megapixels, 60 min left"
    assert parse_progress('{"stage": "finish", "done": 0, "total": 0}') == Progress("finish", 0, 0)


@pytest.mark.parametrize(
    "line", ["warning: {}", "{", "{}", '{"stage": "change"}', '{"stage": "a", "done": "b"}', "[1]", '{"a": [}']
)
def test_other_lines_are_no_progress(line: str) -> None:
    assert parse_progress(line) is None


def test_lines_are_heard_as_they_come(tmp_path: Path) -> None:
    text = f"""
for done in range(3):
    print(json.dumps({{**{TILES}, "done": done}}), file=sys.stderr)
    time.sleep(0.3)
print("warning: dates differ", file=sys.stderr)
print("change: 5 m2")
sys.exit(3)
"""
    heard: list[tuple[float, object]] = []
    ended = call(script(tmp_path, text), lambda told: heard.append((time.monotonic(), told)), never)
    assert [told.done for _, told in heard[:3] if isinstance(told, Progress)] == [0, 1, 2]
    assert heard[2][0] - heard[0][0] > 0.4  # not all at the end
    assert heard[3][1] == "warning: dates differ"
    assert ended == Ended(3, "change: 5 m2\n", ("warning: dates differ",))


STAYS = """
print("ready", file=sys.stderr)
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted: the run is kept", file=sys.stderr)
    sys.exit(130)
"""
HEEDS = "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # whatever the shell that runs the tests does
IGNORES = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
DEAF = IGNORES + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize(("first", "code", "patience"), [(HEEDS, 130, 60), (IGNORES, -15, 0.5), (DEAF, -9, 0.5)])
def test_cancelling_interrupts_then_terminates_then_kills(
    tmp_path: Path, first: str, code: int, patience: float
) -> None:
    heard: list[object] = []
    ended = call(script(tmp_path, first + STAYS), heard.append, lambda: bool(heard), patience)
    assert ended.code == code
    assert ("interrupted: the run is kept" in heard) == (code == 130)


def test_what_cannot_be_started_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "no-program"
    path.write_text("no program")
    with pytest.raises(CommandError, match=r"no-program cannot be started \(Permission denied\): choose another"):
        call([str(path)], print, never)


BOX = ("Usage: schanger-edge run", "╭─ Error ─────╮", "│ Got unexpected extra       │", "│ argument (x)    │", "╰──╯")


@pytest.mark.parametrize(
    ("code", "said", "sentence"),
    [
        (2, ("a note", "error: a.tif: there is no such file.", ""), "a.tif: there is no such file."),
        (
            1,
            ("/env/python: No module named schanger_edge",),
            "/env/python has no schanger-edge: run /env/python -m pip",
        ),
        (2, ("╭─ Error ─╮", "│ No such option: --progress │", "╰─╯"), "older than this plugin: upgrade it"),
        (2, BOX, "Got unexpected extra argument (x)"),
        (1, ("Traceback (most recent call last):", "KeyError: 'x'"), "failed with exit code 1: KeyError: 'x'"),
        (-9, (), "failed with exit code -9: it said nothing"),
    ],
)
def test_what_went_wrong_is_one_sentence(code: int, said: tuple[str, ...], sentence: str) -> None:
    found = problem(Ended(code, "", said), ["/env/python", "-m", "schanger_edge"])
    assert sentence in found
    assert "\n" not in found


def test_a_python_without_schanger_edge_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", "-m", "schanger_edge"]
    assert f"{sys.executable} has no schanger-edge" in problem(call(command, print, never), command)
