"""Builds the native library into the wheel: with the system's compiler, else with zig, which pip brings.

A compiler that is too old for the kernels counts as none. Where neither works the package is built without it, and
`schanger-edge doctor` says so. SCHANGER_EDGE_TARGET builds for another machine, by zig: a key of `compile.TARGETS`, or
`none` for a wheel without the library.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ZIG = "ziglang>=0.15,<1"
VARIABLE = "SCHANGER_EDGE_TARGET"

_spec = importlib.util.spec_from_file_location("schanger_native_compile", Path(__file__).with_name("compile.py"))
assert _spec is not None
assert _spec.loader is not None
native = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(native)


class NativeHook(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the library into a wheel, and beside the sources for an editable install."""

    def dependencies(self) -> list[str]:
        return [] if own_compiler() or target() not in native.TARGETS else [ZIG]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compiler = own_compiler()
        if compiler is None and target() not in native.TARGETS:
            return
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_") if compiler else native.TARGETS[target()].tag
        self.folder = Path(tempfile.mkdtemp(prefix="schanger-native-"))
        place = native.place(target())
        library = self.folder / Path(place).name
        try:
            native.compile_library(compiler or native.zig(target()), library)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            self.app.display_warning(f"built without the native engine, as its compiler failed: {said}")
            return
        if version == "editable":
            shutil.move(library, Path(self.root) / place)
            return
        build_data["force_include"][str(library)] = place
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)


def own_compiler() -> Any:
    """The system's; None where zig is to compile, or nothing."""
    if VARIABLE in os.environ:
        return None
    compiler = native.system_compiler()
    return compiler if compiler and (target() not in native.TARGETS or native.knows_flags(compiler)) else None


def target() -> str:
    """What is built for: this machine, or what the environment says."""
    return os.environ.get(VARIABLE, native.own_target())
