"""Plans on disk: what makes one valid, and the sentence for each way in which it is not; these are no engines."""

from __future__ import annotations

import dataclasses
import json
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from schanger_edge.errors import SchangerError, SessionError
from schanger_edge.files import cache_folder
from schanger_edge.model.card import ModelCard, Normalization, Statistics
from schanger_edge.model.plan import Batches, PlanCard, Target, read_plan_card, sidecar_of, this_system
from schanger_edge.sessions.tensorrt.plans import load_plan, locked, write_plan

CONTENT = b"not an engine, just bytes"
GREY = Statistics((0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
MODEL = ModelCard("toy", "none", "none", 32, 4, 0.5, None, Normalization(GREY, GREY), precision="fp16")
ORIN = Target("tensorrt", "10.3.0", "linux-aarch64", ("8.7",), "Orin")
RTX = Target("rtx", "1.7.1", "linux-x86_64", ("8.6", "8.9"))


def card(target: Target = ORIN) -> PlanCard:
    return PlanCard("toy.onnx", "a" * 64, "b" * 64, MODEL, target, "weak", ("FP16",), Batches(), 256 << 20, 3)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    write_plan(tmp_path / "toy.plan", CONTENT, card())
    return tmp_path / "toy.plan"


def test_what_is_written_is_read(plan: Path) -> None:
    content, found = load_plan(plan, ORIN)
    assert content == CONTENT
    assert found == dataclasses.replace(card(), plan_sha256=found.plan_sha256, plan_bytes=len(CONTENT))
    assert found.key == card().key
    assert sorted(path.name for path in plan.parent.iterdir()) == ["toy.plan", "toy.plan.json"]


@pytest.mark.parametrize(
    ("built_for", "here", "reason"),
    [
        (RTX, ORIN, "it was built for TensorRT-RTX, this is TensorRT"),
        (ORIN, dataclasses.replace(ORIN, version="10.16.0"), "it was built for TensorRT 10.3.0, this is 10.16.0"),
        (ORIN, dataclasses.replace(ORIN, system="linux-x86_64"), "built for linux-aarch64, this is linux-x86_64"),
        (ORIN, dataclasses.replace(ORIN, capabilities=("11.0",)), "built for compute capability 8.7, this is 11.0"),
        (RTX, dataclasses.replace(RTX, capabilities=("12.0",)), "compute capability 8.6 and 8.9, this is 12.0"),
        (ORIN, dataclasses.replace(ORIN, gpu="Orin NX"), "it was built for Orin, this is Orin NX"),
    ],
)
def test_each_mismatch_is_said_before_the_plan_is_read(
    built_for: Target, here: Target, reason: str, tmp_path: Path
) -> None:
    plan = tmp_path / "toy.plan"
    write_plan(plan, CONTENT, card(built_for))
    plan.write_bytes(b"")  # never looked at
    with pytest.raises(SessionError, match=rf"^toy\.plan does not fit: .*{reason}; rebuild it with"):
        load_plan(plan, here)


def test_an_rtx_plan_fits_each_of_its_capabilities() -> None:
    for capability in RTX.capabilities:
        assert not RTX.misfit(dataclasses.replace(RTX, capabilities=(capability,), gpu="any"))


def test_damage_and_mix_ups(plan: Path) -> None:
    sidecar = sidecar_of(plan)
    text = sidecar.read_text()
    plan.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(SessionError, match="is not the plan that its sidecar describes"):
        load_plan(plan, ORIN)
    for broken in (
        "",
        "[]",
        text[:-20],
        json.dumps({**json.loads(text), "format": 1}),
        text.replace('"card"', '"cart"'),
    ):
        sidecar.write_text(broken)
        with pytest.raises(SessionError, match=r"toy\.plan\.json is damaged or was altered: rebuild the plan"):
            read_plan_card(plan)
    sidecar.write_bytes(b"\xff\xfe")
    with pytest.raises(SessionError, match="is damaged"):
        read_plan_card(plan)
    sidecar.unlink()
    with pytest.raises(SessionError, match=r"has no sidecar toy\.plan\.json, so it is unknown what it was built for"):
        load_plan(plan, ORIN)
    plan.unlink()
    with pytest.raises(SessionError, match="does not exist: build it with `schanger-edge build`"):
        load_plan(plan, ORIN)


def test_a_failed_write_leaves_the_plan_before_it(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SessionError, match="No space left on device"):
        write_plan(plan, b"another", card())
    monkeypatch.undo()
    assert load_plan(plan, ORIN)[0] == CONTENT
    assert len(list(plan.parent.iterdir())) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"model_sha256": "c" * 64},
        {"source_sha256": "c" * 64},
        {"target": RTX},
        {"typing": "strong"},
        {"flags": ()},
        {"batches": Batches(1, 1, 1)},
        {"workspace": None},
        {"level": 5},
    ],
)
def test_the_key_changes_with_what_makes_a_plan_valid(changed: dict[str, object]) -> None:
    assert dataclasses.replace(card(), **changed).key != card().key  # type: ignore[arg-type]
    assert dataclasses.replace(card(), model="renamed.onnx", producer="newer").key == card().key


def test_a_plan_that_may_not_be_read(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(
        SessionError, match=r"toy\.plan cannot be read \(Permission denied\): give this user read access"
    ):
        load_plan(plan, ORIN)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SCHANGER_EDGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("engine", SessionError) == tmp_path / ".cache" / "schanger-edge" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("engine", SessionError) == tmp_path / "xdg" / "schanger-edge" / "engines"
    monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(tmp_path / "own"))
    assert cache_folder("engine", SessionError) == tmp_path / "own" / "engines"
    assert stat.S_ISDIR(tmp_path.stat().st_mode)


def test_this_system_is_named() -> None:
    system, processor = this_system().split("-")
    assert system in {"linux", "windows", "darwin"}
    assert processor


def test_batches_are_checked() -> None:
    with pytest.raises(SessionError, match=r"1 <= MIN <= OPT <= MAX, not 4,2,8"):
        Batches(4, 2, 8)


@pytest.mark.parametrize(("side", "wanted"), [(64, (1, 4, 8)), (256, (1, 4, 8)), (512, (1, 1, 2)), (2048, (1, 1, 1))])
def test_larger_tiles_get_smaller_batches(side: int, wanted: tuple[int, int, int]) -> None:
    assert Batches.for_tile(side) == Batches(*wanted)


def test_one_at_a_time_builds_a_plan(tmp_path: Path) -> None:
    plan, inside, most = tmp_path / "x.plan", list[int](), list[int]()

    def build(number: int) -> None:
        with locked(plan):
            inside.append(number)
            time.sleep(0.01)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(build, range(12)))
    assert most == [1] * 12
    assert list(tmp_path.iterdir()) == []


def test_a_lock_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "none").write_text("a file")
    with pytest.raises(SessionError, match=r"x\.plan cannot be written \(.*choose a writable folder"):
        locked(tmp_path / "none" / "x.plan").__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["none"]


def test_a_lock_that_is_a_link_is_left_alone(tmp_path: Path) -> None:
    """Some versions of filelock would empty what it leads to."""
    kept = tmp_path / "kept"
    kept.write_text("the user's")
    (tmp_path / ".x.plan.lock").symlink_to(kept)
    with pytest.raises(SchangerError, match=r"x\.plan\.lock is a link, and no program of ours makes one"):
        locked(tmp_path / "x.plan").__enter__()
    assert kept.read_text() == "the user's"
