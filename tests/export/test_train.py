"""The plain loop learns, resumes to the same weights, and takes over the single-date prior."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from schanger_edge.errors import CheckpointError, DatasetError  # noqa: E402
from schanger_edge.synthetic import SyntheticScene  # noqa: E402
from schanger_export.checkpoints import load_network, load_single_date  # noqa: E402
from schanger_export.data import Crops, Source  # noqa: E402
from schanger_export.train import learning_rate, loss_function, main  # noqa: E402


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered pairs in A, B, label and the same in image, mask."""
    root = tmp_path_factory.mktemp("tree")
    for seed in (13, 14):
        scene = SyntheticScene(seed, 256, 256)
        arrays = {"A": scene.render("before"), "B": scene.render("after"), "label": scene.truth() * 255}
        arrays |= {"image": arrays["A"], "mask": scene.buildings("before") * 255}
        for folder, array in arrays.items():
            kind = "pairs" if folder in ("A", "B", "label") else "single"
            (root / kind / folder).mkdir(parents=True, exist_ok=True)
            pixels = array if array.ndim == 2 else array[::-1].transpose(1, 2, 0)
            cv2.imwrite(str(root / kind / folder / f"{seed}.png"), pixels)
    return root


def train(task: str, source: Path, output: Path, steps: int, *more: Any) -> dict[str, Any]:
    arguments = [task, "--source", source, "--output", output, "--steps", steps, "--batch", 2, "--tile", 32]
    arguments += ["--threads", 1, "--warmup", 2, "--interval", 2, *more]
    main([str(argument) for argument in arguments])
    return torch.load(output / "last.pth", weights_only=True)  # type: ignore[no-any-return]


def test_resume_reaches_the_same_weights(tree: Path, tmp_path: Path) -> None:
    whole = train("change", tree / "pairs", tmp_path / "whole", 4)
    train("change", tree / "pairs", tmp_path / "parts", 4, "--stop", 2)
    assert torch.load(tmp_path / "parts" / "last.pth", weights_only=True)["step"] == 2
    parts = train("change", tree / "pairs", tmp_path / "parts", 4)
    assert whole["step"] == parts["step"] == 4
    for part in ("network", "state_dict"):
        for name, value in whole[part].items():
            assert torch.equal(value, parts[part][name]), name
    load_network(tmp_path / "whole" / "last.pth", "small")


def test_prior_is_handed_over(tree: Path, tmp_path: Path) -> None:
    train("single", tree / "single", tmp_path / "single", 2)
    prior = load_single_date(tmp_path / "single" / "last.pth", "small").state_dict()
    options = ["--rate", 0.0, "--validate", tree / "pairs"]
    state = train(
        "change", tree / "pairs", tmp_path / "change", 2, "--init", tmp_path / "single" / "last.pth", *options
    )
    kernel = "encoder3.0.dwconv.conv.weight"
    assert torch.equal(state["network"][kernel], prior[kernel])
    (record,) = [json.loads(line) for line in (tmp_path / "change" / "history.jsonl").read_text().splitlines()]
    assert 0 <= record[str(tree / "pairs")] <= 1
    with pytest.raises(CheckpointError, match="no single-date checkpoint"):
        train("single", tree / "single", tmp_path / "other", 2, "--init", tmp_path / "change" / "last.pth")


def test_loss_by_hand() -> None:
    label = torch.zeros(1, 1, 2, 2)
    label[..., 0] = 1
    logits = torch.zeros(1, 6, 2, 2)
    dice = 1 - (2 * 1.0 + 1e-7) / (2.0 + 2.0 + 1e-7)
    assert loss_function(logits, label).item() == pytest.approx(6 * (np.log(2) + dice))
    assert loss_function(100 * (2 * label - 1).expand(1, 6, 2, 2), label).item() == pytest.approx(0, abs=1e-5)


def test_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(step, 100, 10, 1.0) for step in range(100)]
    assert rates[9] == rates[10] == 1.0
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01


def test_crops_keep_dates_and_label_together(tree: Path) -> None:
    """A label that is a copy of the image shows every turn, flip and scale."""
    source = tree.parent / "copied"
    for folder in ("A", "B", "label"):
        (source / folder).mkdir(parents=True, exist_ok=True)
        image = np.kron(np.random.default_rng(3).integers(0, 2, (32, 32)), np.ones((8, 8))).astype(np.uint8) * 255
        cv2.imwrite(str(source / folder / "x.png"), image if folder == "label" else cv2.merge([image] * 3))
    images, labels = Crops([Source(source, scale=(0.7, 1.4))], 64, np.random.default_rng(0)).batch(8)
    assert images.shape == (8, 2, 3, 64, 64)
    assert labels.shape == (8, 1, 64, 64)
    assert set(np.unique(labels)) == {0.0, 1.0}
    for pair, label in zip(images, labels, strict=True):
        for date in pair:
            assert np.corrcoef(date.mean(0).ravel(), label.ravel())[0, 1] > 0.85


def test_a_tree_without_labels_is_refused(tree: Path, tmp_path: Path) -> None:
    for folder in ("A", "B", "label"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DatasetError, match="no images"):
        Source(tmp_path).samples()
    cv2.imwrite(str(tmp_path / "A" / "x.png"), np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"x\.png has no label"):
        Source(tmp_path).samples()
