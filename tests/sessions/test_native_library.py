"""The native library by itself: under sanitizers, and for 64-bit Arm and Windows under emulation."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import ROOT, load_script
from native_models import write_model

from schanger_edge.model.file import read_model
from schanger_edge.sessions import open_session
from schanger_edge.sessions.native.engine import read_weights
from schanger_edge.sessions.native.library import Kernels, kernels, library_path

TILE, PAIRS = 48, 2


@pytest.fixture(scope="module")
def native() -> ModuleType:
    """native/compile.py."""
    return load_script(ROOT / "native/compile.py", "native_compile")


class Task(NamedTuple):
    """What the driver is told: widths, and the files of weights, tiles and ONNX Runtime's probability."""

    widths: list[str]
    files: list[str]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("task")
    model = read_model(write_model(folder / "m.onnx", "small", TILE))
    before, after = np.random.default_rng(0).integers(0, 256, (2, PAIRS, 3, TILE, TILE), np.uint8)
    with open_session(model, "cpu", threads=1) as session:
        wanted = session.run(before, after)
    weights = read_weights(model)
    files = []
    for name, values in (("w", weights.values), ("b", before), ("a", after), ("p", wanted)):
        files.append(str(folder / name))
        np.ascontiguousarray(values).tofile(files[-1])
    return Task([str(width) for width in weights.widths], files)


def build_driver(native: Any, compiler: Any, folder: Path, flags: list[str]) -> Path:
    """The driver, linked with the library's objects."""
    objects = [*native.compile_objects(compiler, folder, flags), str(folder / "driver.o")]
    source = ["-x", "c", str(ROOT / "tests/native_driver.c")]
    subprocess.run([*compiler.compile, "-O1", *flags, "-c", "-o", objects[-1], *source], check=True)
    native.link(compiler, folder / "driver", objects, flags)
    return folder / "driver"


def worst(driver: list[str], kind: Kernels, task: Task, threads: int) -> float:
    """The largest difference from ONNX Runtime; whatever a sanitizer says fails."""
    command = [*driver, *kind, *task.widths, str(TILE), str(threads), str(PAIRS), *task.files]
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "UBSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_sanitizers_are_silent(native: Any, task: Task, tmp_path: Path, sanitizers: str) -> None:
    compiler = native.system_compiler()
    if compiler is None:
        pytest.skip("no C++ compiler")
    driver = build_driver(native, compiler, tmp_path, ["-O1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"])
    for kind in kernels():
        assert worst([str(driver)], kind, task, 3) < (2e-5 if kind.precision == "fp32" else 0.05)


@pytest.mark.slow
def test_neon_under_emulation(native: Any, task: Task, tmp_path: Path) -> None:
    emulator, cross = shutil.which("qemu-aarch64-static"), shutil.which("aarch64-linux-gnu-g++")
    if emulator is None or cross is None:
        pytest.skip("no emulator or compiler: apt install qemu-user-static g++-aarch64-linux-gnu")
    driver = build_driver(native, native.Compiler((cross,), (cross,), "aarch64"), tmp_path, ["-static"])
    for kind in (Kernels("neon", "fp32"), Kernels("plain", "fp32")):
        assert worst([emulator, str(driver)], kind, task, 2) < 2e-5


@pytest.mark.slow
def test_windows_under_wine(native: Any, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wine = shutil.which("wine64", path=f"{os.environ['PATH']}:/usr/lib/wine")
    if wine is None or importlib.util.find_spec("ziglang") is None:
        pytest.skip("no Wine or no zig: apt install wine64, pip install ziglang")
    driver = build_driver(native, native.zig("x86_64-windows"), tmp_path, [])
    monkeypatch.setenv("WINEPREFIX", str(tmp_path / "wine"))
    monkeypatch.setenv("WINEDEBUG", "-all")
    subprocess.run([wine, "wineboot", "-i"], capture_output=True, check=True)  # says much, of what is not needed here
    for kind in kernels():
        assert worst([wine, str(driver)], kind, task, 2) < (2e-5 if kind.precision == "fp32" else 0.05)


@pytest.mark.skipif(
    "CI" not in os.environ, reason="a checkout may lack the engine; CI must not, or it would test nothing"
)
def test_ci_has_the_library() -> None:
    assert [kind.isa for kind in kernels()][-1] == "plain"


@pytest.mark.slow
@pytest.mark.skipif(library_path() is None, reason="the native engine was not built: native/compile.py")
def test_the_library_is_that_of_the_sources() -> None:
    """An editable install does not compile again by itself; a stale library would be tested in place of the sources."""
    path = library_path()
    assert path is not None
    newest = max(source.stat().st_mtime for source in (ROOT / "native/src").iterdir())
    assert path.stat().st_mtime >= newest, "run: python native/compile.py"
