"""A new engine is one file and one line: what a toy in the register brings about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_session import TILE, tiles

from schanger_edge.errors import SessionError
from schanger_edge.model.file import ModelFile, read_model
from schanger_edge.sessions import Session, gpu, open_session, register
from schanger_edge.sessions.devices import usable_engine
from schanger_edge.sessions.doctor import doctor, extras
from schanger_edge.sessions.engine import Auto, Engine, Extra, Findings, OwnFiles, SessionOptions
from schanger_edge.sessions.engine_report import engine_report


class ToySession(Session):
    """Everything has changed by a half."""

    def __init__(self, model: ModelFile, options: SessionOptions) -> None:
        self.model, self.card, self.model_sha256 = model.path, model.card, model.sha256
        self.device, self.notes = f"Toy ({options.threads} threads)", list[str]()

    def describe(self) -> dict[str, Any]:
        return {"wound up": True}

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.full((len(before), 1, *before.shape[2:]), 0.5, np.float32)

    def close(self) -> None:
        self.notes.append("closed")


def no_gpu() -> str:
    raise SessionError("the toy's GPU is not here.")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine(
        "Toy",
        {"toy": ToySession},
        findings=lambda: Findings({"Toy": "1.0"}, {"spring": "wind it up."}),
        extras={"toy": Extra(("no_such_toy",), "visit a toy shop")},
        own_files=OwnFiles(".toy", "box of toys", lambda path, options: ToySession(read_model(path), options)),
    )
    monkeypatch.setattr(register, "ENGINES", [*register.ENGINES, engine])
    return engine


def test_its_device_opens(toy: Engine, model: Path) -> None:
    with open_session(model, "toy", threads=3) as session:
        assert session.run(*tiles(2)).shape == (2, 1, TILE, TILE)
        assert session.submit(*tiles(1))().max() == 0.5
        assert (session.device, session.chosen) == ("Toy (3 threads)", "device toy, as requested")
        assert session.identity() == {"model": session.model_sha256, "device": "Toy (3 threads)", "plan": None}
    report = engine_report(session, batch=4).as_dict()
    assert report == {
        "device": "Toy (3 threads)", "chosen": "device toy, as requested", "precision": "fp32", "typing": None,
        "flags": (), "wound up": True, "batch": 4, "stages": {}, "notes": ("closed",),
    }  # fmt: skip


def test_its_name_is_known(toy: Engine, model: Path) -> None:
    assert register.device_names()[-1] == "toy"
    assert register.device_help().endswith("cuda:onnxruntime, toy, or auto: the best that is there.")
    with pytest.raises(SessionError, match=r"device 'toaster' is unknown: use auto, cpu, .*cuda:onnxruntime, toy\."):
        open_session(model, "toaster")


def test_doctor_tells_of_it(toy: Engine) -> None:
    report = doctor()
    assert report.facts["Toy"] == "1.0"
    assert report.missing["spring"] == "wind it up."
    assert report.missing["extra toy"] == "no_such_toy: visit a toy shop"
    assert "toy" in extras()


def test_files_that_it_alone_opens(toy: Engine, model: Path, tmp_path: Path) -> None:
    own = tmp_path / "m.toy"
    own.write_bytes(model.read_bytes())
    for device in ("toy", "auto"):
        with open_session(own, device) as session:
            assert session.chosen == "a toy only runs with Toy"
    with pytest.raises(SessionError, match=r"m\.toy is a box of toys, which only runs with --device toy"):
        open_session(own, "cpu")


def test_auto_never_takes_it_unless_it_says_so(toy: Engine, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "driver_present", lambda: True)
    for auto, usable, first in (
        (Auto.NEVER, None, False), (Auto.ON_GPU, None, True), (Auto.ON_GPU, no_gpu, None),
    ):  # fmt: skip
        own = Engine("Toy", {"toy": ToySession}, auto=auto, usable=usable)
        monkeypatch.setattr(register, "ENGINES", [own, *(e for e in register.ENGINES if e.auto is Auto.REFERENCE)])
        assert usable_engine().startswith("Toy" if first else "ONNX Runtime on the CPU")
        if usable is None:
            with open_session(model, "auto") as session:
                assert session.device.startswith("Toy" if first else "ONNX Runtime")
        else:
            assert "the toy's GPU is not here" in usable_engine()


def test_the_help_of_the_command_line() -> None:
    """The sentence that `run --help` shows."""
    assert register.device_help() == (
        "cpu, cpu:native[:bf16], cpu:openvino[:bf16], cuda (TensorRT), cuda:onnxruntime, or auto: the best that is "
        "there."
    )
    assert register.device_names() == [
        "auto", "cpu", "cpu:native", "cpu:native:bf16", "cpu:openvino", "cpu:openvino:bf16", "cuda", "cuda:onnxruntime",
    ]  # fmt: skip
