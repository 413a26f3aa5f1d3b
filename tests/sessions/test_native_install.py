"""The native library as pip and wheels bring it: with a compiler, without, and for each machine that has a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from helpers import ROOT, load_script

UV = [sys.executable, "-m", "uv"]
BUILD = ["hatchling>=1.27", "hatch-fancy-pypi-readme>=24.1"]
ASK = """
from schanger_edge.model.bundled import model_path
from schanger_edge.sessions import open_session
from schanger_edge.sessions.doctor import doctor
from schanger_edge.sessions.native import library

found = doctor()
print(library.__file__)
print(found.facts.get("native engine"))
print(found.missing.get("native engine"))
if "native engine" in found.facts:
    with open_session(model_path("schanger-small"), "cpu:native") as session:
        print(session.device)
"""
HEADS = {
    "x86_64-linux": (b"\x7fELF\x02\x01", (18, b"\x3e\x00")),
    "aarch64-linux": (b"\x7fELF\x02\x01", (18, b"\xb7\x00")),
    "x86_64-macos": (b"\xcf\xfa\xed\xfe", (4, b"\x07\x00\x00\x01")),
    "aarch64-macos": (b"\xcf\xfa\xed\xfe", (4, b"\x0c\x00\x00\x01")),
    "x86_64-windows": (b"MZ", (None, b"PE\x00\x00\x64\x86")),
}
"""Of each target's library: how it begins, and where the processor stands (on Windows the file says where)."""


@pytest.fixture(scope="module")
def native() -> ModuleType:
    """native/compile.py."""
    return load_script(ROOT / "native/compile.py", "native_compile")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone, but of the files as they stand here."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith(("benchmarks/", "docs/")):
            (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An environment that has the dependencies, those of this one, but not the package."""
    subprocess.run([*UV, "venv", "-q", "--python", sys.executable, str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run([str(python), "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    Path(packages, "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth files don't count
    return python


def no_compiler(tmp_path: Path) -> dict[str, str]:
    """An environment without one: nothing but git is on its path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(shutil.which("git") or "/usr/bin/git")
    return {**{name: value for name, value in os.environ.items() if name != "CXX"}, "PATH": str(tmp_path / "bin")}


def install(python: Path, environment: dict[str, str], *options: str) -> tuple[str, list[str]]:
    """What the installer said, and the answers to ASK in that environment."""
    command = [*UV, "pip", "install", "--no-deps", "--python", str(python), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    told = subprocess.run(
        [str(python), "-c", ASK], env=bare, capture_output=True, text=True, check=False, cwd=python.parent
    )
    assert told.returncode == 0, told.stderr
    return done.stderr, told.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "editable"),
    [("compiler", False), ("compiler", True), ("no compiler", False), ("old compiler", True)],
)
def test_installed_with_the_engine(checkout: Path, python: Path, tmp_path: Path, way: str, editable: bool) -> None:
    """By the system's compiler, and by zig where there is none or one that does not know the kernels' flags."""
    environment = dict(os.environ) if way == "compiler" else no_compiler(tmp_path)
    if way == "compiler" and shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    if way == "old compiler":
        (tmp_path / "bin" / "c++").write_text("#!/bin/sh\necho unrecognized command-line option >&2\nexit 1\n")
        (tmp_path / "bin" / "c++").chmod(0o755)
    _, (place, there, missing, device) = install(python, environment, *["-e"] * editable, str(checkout))
    assert Path(place).is_relative_to(checkout if editable else python.parent.parent)
    assert "plain fp32" in there
    assert missing == "None"
    assert device.startswith("native ")


@pytest.mark.slow
def test_installed_without_the_engine_where_neither_compiler_works(
    checkout: Path, python: Path, tmp_path: Path
) -> None:
    """zig is a requirement of the build, which this one is not given."""
    subprocess.run([*UV, "pip", "install", "-q", "--python", str(python), *BUILD], check=True)
    _, (_, there, missing) = install(python, no_compiler(tmp_path), "--no-build-isolation", str(checkout))
    assert there == "None"
    assert missing.startswith(
        "the native engine was not built when schanger-edge was installed: install a C++ compiler"
    )


@pytest.mark.slow
@pytest.mark.parametrize("target", [*HEADS, "none"])
def test_a_wheel_holds_the_library_of_its_machine_and_no_other(
    native: ModuleType, checkout: Path, tmp_path: Path, target: str
) -> None:
    (checkout / native.FOLDER / "schanger_native.so").write_text("one that was compiled in the checkout")
    environment = {**no_compiler(tmp_path), "SCHANGER_EDGE_TARGET": target}
    build = [*UV, "build", "-q", "--wheel", "--out-dir", str(tmp_path), str(checkout)]
    subprocess.run(build, check=True, env=environment)
    (wheel,) = tmp_path.glob("schanger_edge-*.whl")
    check_wheel(native, wheel, target)


def check_wheel(native: ModuleType, wheel: Path, target: str) -> None:
    """Its tag, its library's place and processor, and for Linux whether the tag is true."""
    assert wheel.name.endswith(f"-py3-none-{native.TARGETS[target].tag if target in HEADS else 'any'}.whl")
    with zipfile.ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if "schanger_native" in name]
        assert libraries == ([native.place(target)] if target in HEADS else [])
        content = archive.read(libraries[0]) if libraries else b""
    if target not in HEADS:
        return
    begin, (at, processor) = HEADS[target]
    at = int.from_bytes(content[60:64], "little") if at is None else at
    assert content.startswith(begin)
    assert content[at : at + len(processor)] == processor
    if target.endswith("-linux"):
        show = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
        found = subprocess.run(show, capture_output=True, text=True, check=True).stdout
        assert f'"{native.TARGETS[target].tag}"' in found


def test_every_target_has_its_wheel(native: ModuleType) -> None:
    assert set(HEADS) == set(native.TARGETS)
    for name in ("Makefile", ".github/workflows/ci.yml"):
        (targets,) = re.findall(r"for target in (.*); do", (ROOT / name).read_text())
        assert set(targets.split()) == set(native.TARGETS)
