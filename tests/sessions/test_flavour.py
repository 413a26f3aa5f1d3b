"""Which TensorRT is there, told apart by stand-in modules of the versions that don't install here."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from schanger_edge.errors import SessionError
from schanger_edge.host import board
from schanger_edge.sessions.tensorrt.flavour import Flavour, load_flavour, version_of

OLD_FLAGS = SimpleNamespace(EXPLICIT_BATCH=0)
FLAGS_10 = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType | Exception]:
    """What importing a TensorRT gives; nothing is installed to begin with."""
    modules: dict[str, ModuleType | Exception] = {}

    def find(name: str) -> ModuleType:
        found = modules.get(name, ModuleNotFoundError(name))
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(importlib, "import_module", find)
    return modules


def module(version: str) -> ModuleType:
    found = ModuleType("stand-in")
    found.__version__ = version  # type: ignore[attr-defined]
    return found


def test_tensorrt_comes_first_then_rtx(installed: dict[str, ModuleType | Exception]) -> None:
    installed["tensorrt_rtx"] = module("1.7.1.116")
    assert load_flavour().words == "TensorRT-RTX 1.7.1.116"
    installed["tensorrt"] = module("10.3.0")
    assert load_flavour().words == "TensorRT 10.3.0"
    assert load_flavour("rtx").name == "rtx"


def test_what_is_missing_is_said(installed: dict[str, ModuleType | Exception]) -> None:
    with pytest.raises(SessionError, match=r"^TensorRT is not installed: pip install 'schanger-edge\[tensorrt\]'"):
        load_flavour()
    with pytest.raises(SessionError, match=r"^TensorRT-RTX is not installed: pip install 'schanger-edge\[rtx\]'\.$"):
        load_flavour("rtx")
    installed["tensorrt"] = ImportError("libnvinfer.so.10: cannot open shared object file")
    with pytest.raises(SessionError, match=r"does not load \(libnvinfer\.so\.10: .*reinstall it"):
        load_flavour("tensorrt")
    with pytest.raises(SessionError, match=r"does not load .* TensorRT-RTX is not installed"):
        load_flavour()
    with pytest.raises(SessionError, match="'trt' is unknown: use tensorrt or rtx"):
        load_flavour("trt")  # type: ignore[arg-type]


def test_on_jetson_no_wheel_takes_the_place_of_jetpacks(
    installed: dict[str, ModuleType | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "is_jetson", lambda: True)
    for name in ("tensorrt", "rtx"):
        with pytest.raises(SessionError, match="is not installed") as caught:
            load_flavour(name)  # type: ignore[arg-type]
        assert "pip" not in str(caught.value)
    installed["tensorrt"] = ImportError("libnvinfer.so.10: cannot open shared object file")
    with pytest.raises(SessionError, match=r"does not load .*: reinstall it with sudo apt install python3-libnvinfer"):
        load_flavour("tensorrt")


def test_thin_images_of_jetpack_6_lack_a_library(installed: dict[str, ModuleType | Exception]) -> None:
    installed["tensorrt"] = ImportError("libnvdla_compiler.so: cannot open shared object file: No such file")
    with pytest.raises(
        SessionError, match=r"does not load \(libnvdla_compiler.*sudo apt install nvidia-l4t-dla-compiler"
    ):
        load_flavour("tensorrt")


def test_a_jetson_is_known_by_its_files(tmp_path: Path) -> None:
    assert not board.is_jetson(tmp_path)
    tree = tmp_path / "container" / "proc" / "device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000+p3767-0003\0nvidia,tegra234\0")
    assert board.is_jetson(tmp_path / "container")
    (tree / "compatible").write_bytes(b"raspberrypi,5-model-b\0brcm,bcm2712\0")
    assert not board.is_jetson(tmp_path / "container")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_text("# R36")
    assert board.is_jetson(tmp_path)


def test_a_version_that_is_too_old(installed: dict[str, ModuleType | Exception]) -> None:
    installed["tensorrt"] = module("8.5.2.2")
    with pytest.raises(SessionError, match=r"TensorRT 8\.5\.2\.2 is too old, 8\.6 or later is needed: .* JetPack 6"):
        load_flavour("tensorrt")


@pytest.mark.parametrize(
    ("name", "version", "flags", "strong", "network_flags"),
    [
        ("tensorrt", "8.6.2", OLD_FLAGS, False, 1),
        ("tensorrt", "10.0.1", FLAGS_10, True, 2),
        ("tensorrt", "10.3.0", FLAGS_10, True, 2),
        ("tensorrt", "11.4.1", SimpleNamespace(), True, 0),
        ("rtx", "1.7.1", SimpleNamespace(STRONGLY_TYPED=0), True, 1),
    ],
)
def test_typing_by_version(name: str, version: str, flags: object, strong: bool, network_flags: int) -> None:
    found = Flavour(name, SimpleNamespace(NetworkDefinitionCreationFlag=flags), version)  # type: ignore[arg-type]
    assert found.strong == strong
    assert found.network_flags == network_flags


def test_versions_in_words() -> None:
    assert version_of("10.3.0") == (10, 3)
    assert version_of("11.4.1.6") > version_of("10.16.0")
    assert version_of("unknown") == (0, 0)
