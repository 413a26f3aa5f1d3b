"""Checkpoints: what loads, and one sentence for everything that does not."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from schanger_edge.errors import CheckpointError  # noqa: E402
from schanger_export.checkpoints import (  # noqa: E402
    fusion_names,
    initialize,
    load_network,
    load_prior,
    load_single_date,
    read_card,
    read_state_dict,
    save_checkpoint,
    weights_sha256,
)
from schanger_export.history import read_history  # noqa: E402
from schanger_export.network import SChanger  # noqa: E402

Weights = Callable[..., dict[str, Any]]
Make = Callable[..., Path]


def fails(load: Callable[..., Any], path: Path, pattern: str, size: str = "small") -> None:
    with pytest.raises(CheckpointError) as caught:
        load(path, size)
    message = str(caught.value)
    assert re.search(pattern, message), message
    assert message.endswith(".")
    assert "\n" not in message
    assert path.name in message


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_loads_with_every_prefix(weights: Weights, checkpoint: Make, prefix: str) -> None:
    state = weights("small")
    network = load_network(checkpoint({prefix + name: value for name, value in state.items()}), "small")
    assert not network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_loads_the_base_and_the_single_date_networks(weights: Weights, checkpoint: Make) -> None:
    assert load_network(checkpoint(weights("base")), "base").size == "base"
    network = load_single_date(checkpoint(weights("small", siamese=False)), "small")
    assert not network.training
    assert not network.siamese


def test_fusion_names_follow_the_published_rule(weights: Weights) -> None:
    assert fusion_names("small") == weights("small").keys() - weights("small", siamese=False).keys()


def test_siamese_file_as_single_date_only_on_request(weights: Weights, checkpoint: Make) -> None:
    path = checkpoint(weights("small"))
    fails(load_single_date, path, "is a change-detection checkpoint, not a single-date")
    network = load_single_date(path, "small", drop_fusion=True)
    assert not fusion_names("small") & network.state_dict().keys()


def test_single_date_file_as_siamese(weights: Weights, checkpoint: Make) -> None:
    fails(load_network, checkpoint(weights("small", siamese=False)), r"single-date \(pre-training\).*fine-tune it")


@pytest.mark.parametrize(("held", "asked"), [("base", "small"), ("small", "base")])
def test_the_other_size(weights: Weights, checkpoint: Make, held: str, asked: str) -> None:
    fails(load_network, checkpoint(weights(held)), f"holds the {held} network: pass --size {held}", asked)


def test_missing_and_folder(tmp_path: Path) -> None:
    fails(load_network, tmp_path / "none.pth", "cannot be read .*No such file")
    fails(load_network, tmp_path, "cannot be read .*directory")
    with pytest.raises(CheckpointError, match="cannot be read"):
        weights_sha256(tmp_path / "none.pth")


def test_no_torch_file_and_truncated(weights: Weights, checkpoint: Make, tmp_path: Path) -> None:
    for content in (b"", b"not a checkpoint", b"\x89PNG\r\n\x1a\n" + bytes(64)):
        (tmp_path / "other.pth").write_bytes(content)
        fails(load_network, tmp_path / "other.pth", "damaged or not a torch file")
    path = checkpoint(weights("small"))
    path.write_bytes(path.read_bytes()[:100_000])
    fails(load_network, path, "damaged or not a torch file")


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_objects_are_refused(weights: Weights, tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "objects.pth"
    content = {"state_dict": weights("small"), "where": Path("x")}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    fails(load_network, path, "pickled objects, which could run code and are refused")


def test_no_state_dict(weights: Weights, tmp_path: Path) -> None:
    for content in ({"model": weights("small")}, [1], {"state_dict": {}}, {"state_dict": 3}):
        torch.save(content, tmp_path / "w.pth")
        fails(load_network, tmp_path / "w.pth", 'holds no "state_dict"')
    torch.save({"state_dict": {"conv_1.conv.weight": 3}}, tmp_path / "w.pth")
    fails(load_network, tmp_path / "w.pth", "values other than tensors")


def test_missing_and_unexpected_names_are_counted(weights: Weights, checkpoint: Make) -> None:
    state = weights("small")
    for name in sorted(name for name in state if name.startswith("conv_1."))[:4]:
        del state[name]
    fails(load_network, checkpoint(state), r"lacks 4 tensors \(conv_1\.bn\.bias, .*, \.\.\.\); give")
    state = weights("small") | {"extra.weight": torch.zeros(1)}
    fails(load_network, checkpoint(state), r"holds the unknown 1 tensor \(extra\.weight\)")
    fails(load_network, checkpoint({"a": torch.zeros(1)}), "lacks 638 tensors .* and holds the unknown 1 tensor")


def test_wrong_shapes_and_values_that_are_not_finite(weights: Weights, checkpoint: Make) -> None:
    state = weights("small") | {"head6.0.conv.weight": torch.zeros(1, 4, 1, 1)}
    fails(load_network, checkpoint(state), r"1 tensor .*head6\.0\.conv\.weight is \(1, 4, 1, 1\), not \(1, 5, 1, 1\)")
    state = weights("small") | {"conv_1.conv.weight": torch.zeros(())}
    fails(load_network, checkpoint(state), "with the wrong shape")
    state = weights("small")
    state["conv_1.bn.running_var"][0] = float("nan")
    fails(load_network, checkpoint(state), "not finite, 1 tensor")


def test_save_is_read_back_with_its_extras(weights: Weights, tmp_path: Path) -> None:
    state = weights("small")
    path = tmp_path / "saved.pth"
    save_checkpoint(path, state, epoch=7, scores={"f1": 0.5})
    assert torch.load(path, weights_only=True)["epoch"] == 7
    assert all(np.array_equal(value, state[name]) for name, value in read_state_dict(path).items())
    assert weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_keeps_the_old_file(weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "saved.pth"
    path.write_bytes(b"old")

    def full(content: Any, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\)"):
        save_checkpoint(path, weights("small"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(CheckpointError, match="choose a writable folder"):
        save_checkpoint(path / "saved.pth", {})


@pytest.mark.parametrize("size", ["small", "base"])
def test_the_size_follows_from_the_file(weights: Weights, checkpoint: Make, size: str) -> None:
    assert load_network(checkpoint(weights(size))).size == size


def test_a_size_that_is_neither(weights: Weights, checkpoint: Make) -> None:
    for first in (torch.zeros(7, 3, 3, 3), torch.zeros(())):
        path = checkpoint(weights("small") | {"conv_1.conv.weight": first})
        fails(lambda path, _: load_network(path), path, "neither the small nor the base network")


def test_a_siamese_prior_replaces_everything(weights: Weights, checkpoint: Make) -> None:
    state, network = weights("small"), SChanger("small")
    assert initialize(network, checkpoint(state)) == "siamese"
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_single_date_prior_leaves_fusion_fresh(weights: Weights, checkpoint: Make) -> None:
    state, network = weights("small", siamese=False), SChanger("small")
    fresh = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    assert initialize(network, checkpoint(state)) == "single-date"
    assert network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, fresh[name] if name in fusion_names("small") else state[name]), name


def test_a_prior_lacks_fusion_whole_or_not_at_all(weights: Weights, checkpoint: Make) -> None:
    some = min(fusion_names("small"))
    for load in (load_prior, lambda path, size: initialize(SChanger(size), path)):
        state = weights("small")
        del state[some]
        fails(load, checkpoint(state), rf"does not fit the small network: it lacks 1 tensor \({re.escape(some)}\)")
        state = weights("small", siamese=False)
        del state["conv_1.conv.weight"]
        fails(load, checkpoint(state), r"the small single-date network: it lacks 1 tensor \(conv_1")
        state = weights("small", siamese=False) | {"more": torch.zeros(1)}
        fails(load, checkpoint(state), "holds the unknown 1 tensor")
        fails(load, checkpoint(weights("base", siamese=False)), "pass --size base")


def test_a_card_is_read_back_in_plain_values(weights: Weights, tmp_path: Path) -> None:
    state, path = weights("small"), tmp_path / "best.pth"
    save_checkpoint(path, state)
    assert read_card(path) == {}
    card = {"dataset": "scenes", "gsd": None, "tile": 128, "scores": {"a/test": {"f1": 0.5}}, "task": "change"}
    save_checkpoint(path, state, card=card, training={"step": 3})
    assert read_card(path) == {"dataset": "scenes", "tile": 128, "scores": {"a/test": {"f1": 0.5}}, "task": "change"}


@pytest.mark.parametrize(
    ("card", "pattern"),
    [
        ([1], "the whole card"),
        ({"gsd": "half", "tile": 3.5, "dataset": "x"}, r"wrong \(tile, gsd\): save"),
        ({"scores": {"f1": torch.zeros(1)}}, "a value that is not plain"),
        ({"gsd": float("nan")}, "a value that is not plain"),
    ],
)
def test_a_wrong_card(weights: Weights, tmp_path: Path, card: Any, pattern: str) -> None:
    save_checkpoint(tmp_path / "best.pth", weights("small"), card=card)
    fails(lambda path, _: read_card(path), tmp_path / "best.pth", pattern)


def test_a_disk_that_is_full_at_any_point_is_named(small_disk: Path) -> None:
    """A file of torch's that its disk cuts off in its last bytes fails in another way than one cut off before."""
    for size in (1 << 20, (1 << 20) + 5000, (1 << 20) + 10000):
        state = {f"w{number}": torch.zeros(size // 40) for number in range(10)}
        with pytest.raises(CheckpointError, match=r"x\.pth cannot be written \(No space left on device\)"):
            save_checkpoint(small_disk / "x.pth", state)
        assert not list(small_disk.iterdir())


def test_a_damaged_line_of_the_history_is_left_out(tmp_path: Path) -> None:
    lines = (b'{"step": 1, "loss": 0.5}', b'{"step": 2, "lo', b"\xff\xfe", b'{"step": "3"}', b'{"step": 4, "f1": "x"}')
    (tmp_path / "history.jsonl").write_bytes(b"\n".join((*lines, b"[" * 100_000)))
    assert read_history(tmp_path / "history.jsonl") == [{"step": 1, "loss": 0.5}]
