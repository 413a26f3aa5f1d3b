"""Compiles the native library; `python native/compile.py` puts it where an editable install has it.

`--target aarch64-linux -o FILE` compiles for another machine, by zig (pip install ziglang). Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "native" / "src"
FOLDER = "schanger_edge/sessions/native"
"""Of the library in the package."""
SUFFIXES = {"windows": ".dll", "macos": ".dylib"}
"""Of a library, by system; others have .so."""

# Contracting a product and a sum in some copies of a loop and not in others would make bytes depend on the threads.
FLAGS = ("-std=c++17", "-O3", "-g0", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti")
FLAGS += ("-ffp-contract=off", "-fno-math-errno")
AVX2 = ("-DSCHANGER_AVX2", "-mavx2", "-mfma")
AVX512 = ("-DSCHANGER_AVX512", "-mavx2", "-mfma", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
KERNELS: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {
        "plain": (),
        "avx2": AVX2,
        "avx512": AVX512,
        "avx512_bf16": (*AVX512, "-DSCHANGER_BF16", "-mavx512bf16"),
    },
    "aarch64": {"plain": (), "neon": ("-DSCHANGER_NEON",)},
}
"""For each processor the kernels, and how network.cpp is compiled into them; another has the plain ones alone."""


class Target(NamedTuple):
    """What zig calls a machine, and what wheels call it."""

    zig: str
    tag: str


# glibc 2.17 has all that the library calls. Windows' threads are those of POSIX by winpthreads, which zig links in.
TARGETS = {
    "x86_64-linux": Target("x86_64-linux-gnu.2.17", "manylinux_2_17_x86_64"),
    "aarch64-linux": Target("aarch64-linux-gnu.2.17", "manylinux_2_17_aarch64"),
    "x86_64-macos": Target("x86_64-macos.11.0", "macosx_11_0_x86_64"),
    "aarch64-macos": Target("aarch64-macos.11.0", "macosx_11_0_arm64"),
    "x86_64-windows": Target("x86_64-windows-gnu", "win_amd64"),
}
_SYSTEMS = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}
_PROCESSORS = {"arm64": "aarch64", "AMD64": "x86_64"}


class Compiler(NamedTuple):
    """Commands that compile C++ and link a library, and the processor they do it for."""

    compile: tuple[str, ...]
    link: tuple[str, ...]
    processor: str


def own_target() -> str:
    """This machine, as a key of TARGETS; another word where zig is not used for it."""
    return f"{_processor()}-{_SYSTEMS.get(platform.system(), 'other')}"


def place(target: str) -> str:
    """Path of the library in the package, for a key of TARGETS or another target."""
    return f"{FOLDER}/schanger_native{SUFFIXES.get(target.partition('-')[2], '.so')}"


def system_compiler() -> Compiler | None:
    """This machine's own, or that of the environment's CXX; None where there is none.

    On Windows it has to be named: what MinGW links needs libraries of its own beside it.
    """
    usual = [] if platform.system() == "Windows" else ["c++", "g++", "clang++"]
    named = [os.environ["CXX"]] if os.environ.get("CXX") else usual
    found = next((path for path in map(shutil.which, named) if path), None)
    return Compiler((found,), (found,), _processor()) if found else None


def zig(target: str) -> Compiler:
    """zig, for a key of TARGETS. It links as for C: else it would first build a C++ runtime, which is not needed."""
    command = (sys.executable, "-m", "ziglang")
    options = ("-target", TARGETS[target].zig)
    return Compiler((*command, "c++", *options), (*command, "cc", *options), target.partition("-")[0])


def knows_flags(compiler: Compiler) -> bool:
    """Whether a compiler starts, and takes what all kernels of its processor are compiled with."""
    source = str(SOURCES / "processor.cpp")
    with tempfile.TemporaryDirectory(prefix="schanger-native-") as folder:
        try:
            for own in KERNELS.get(compiler.processor, {"plain": ()}).values():
                _run([*compiler.compile, *FLAGS, *own, "-c", "-o", f"{folder}/tried.o", source])
        except (OSError, subprocess.CalledProcessError):
            return False
    return True


def compile_library(compiler: Compiler, library: Path, flags: Sequence[str] = ()) -> None:
    """Compile the library to a file.

    Args:
        compiler: see `system_compiler` and `zig`.
        library: to write.
        flags: further ones, for every file and the linker.

    Raises:
        OSError: the compiler does not start.
        CalledProcessError: it failed; what it said is in `stderr`.
    """
    with tempfile.TemporaryDirectory(prefix="schanger-native-") as folder:
        built = Path(folder) / library.name
        link(compiler, built, compile_objects(compiler, Path(folder), flags), ["-shared", *flags])
        shutil.move(built, library)  # at once, for a library that is loaded must not be written into


def compile_objects(compiler: Compiler, folder: Path, flags: Sequence[str] = ()) -> list[str]:
    """All object files of the library, in a folder. Args and raises as `compile_library`."""
    parts = [("network", name, own) for name, own in KERNELS.get(compiler.processor, {"plain": ()}).items()]
    parts += [(name, name, ()) for name in ("border", "team", "processor")]
    objects = [str(folder / f"{name}.o") for _, name, _ in parts]
    for (source, name, own), target in zip(parts, objects, strict=True):
        file = str(SOURCES / f"{source}.cpp")
        _run([*compiler.compile, *FLAGS, *own, *flags, f"-DSCHANGER_NAME={name}", "-c", "-o", target, file])
    return objects


def link(compiler: Compiler, target: Path, objects: Sequence[str], flags: Sequence[str] = ()) -> None:
    """Link a library (flag `-shared`) or a program. Raises as `compile_library`."""
    _run([*compiler.link, *flags, "-o", str(target), *objects, "-pthread", "-lm"])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _processor() -> str:
    return _PROCESSORS.get(platform.machine(), platform.machine())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="the library to write")
    parser.add_argument("--target", choices=TARGETS, help="another machine")
    parser.add_argument("--flags", default="", help="further ones for the compiler, such as -fsanitize=address")
    options = parser.parse_args()
    if options.target and not options.output:
        parser.error("--target needs -o FILE: the checkout's own library is this machine's.")
    output = options.output or ROOT / place(own_target())
    compiler = zig(options.target) if options.target else system_compiler()
    if compiler is None:
        sys.exit("no C++ compiler found: install one (Debian, Ubuntu: apt install g++), or name it in CXX.")
    try:
        compile_library(compiler, output, options.flags.split())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{compiler.compile[0]} failed:\n{error.stderr}")
    print(output)


if __name__ == "__main__":
    main()
