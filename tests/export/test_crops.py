"""Crops: numbered samples that follow from the seed alone, shared out over processes, from any layout."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from schanger_edge.datasets.sources import Source  # noqa: E402
from schanger_export.crops import Crops, micro_batches  # noqa: E402
from schanger_export.options import Sampling  # noqa: E402
from schanger_export.processes import Processes  # noqa: E402


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs of 96 x 128 whose label is a copy of both images, and the same as single dates."""
    root = tmp_path_factory.mktemp("tree")
    rng = np.random.default_rng(3)
    for number in range(3):
        label = np.zeros((96, 128), np.uint8)
        row, col = rng.integers(0, 80), rng.integers(0, 112)
        label[row : row + 16, col : col + 16] = 255
        for kind, folder in (("train", "A"), ("train", "B"), ("train", "label"), ("", "image"), ("", "mask")):
            (root / kind / folder).mkdir(parents=True, exist_ok=True)
            image = label if folder in ("label", "mask") else cv2.merge([label // 2 + 40 + 10 * number] * 3)
            cv2.imwrite(str(root / kind / folder / f"{number}.png"), image)
    return root


def crops(root: Path, **options) -> Crops:  # type: ignore[no-untyped-def]
    source, dates = options.pop("source", Source(str(root))), options.pop("dates", 2)
    return Crops([source], dates, Sampling(**{"tile": 32, "seed": 1, **options}))


def test_an_epoch_is_every_image_once(tree: Path) -> None:
    data = crops(tree)
    assert len(data) == 3
    assert len(crops(tree, source=Source(str(tree), repeat=4))) == 12
    for epoch in range(4):
        assert sorted(data._order(epoch)) == [0, 1, 2]
    assert len({tuple(data._order(epoch)) for epoch in range(8)}) > 1


def test_a_sample_follows_from_its_number(tree: Path) -> None:
    data = crops(tree, jitter=0.5, focus=0.5)
    other = pickle.loads(pickle.dumps(data))  # as a worker process gets it
    for number in (0, 5, 1000):
        torch.rand(3)  # the global generator has no part in it
        for a, b in zip(data[number], other[number], strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(data[0][0], data[3][0])


def test_shapes_values_and_scale(tree: Path) -> None:
    for source in (Source(str(tree)), Source(str(tree), scale=(0.5, 2.0))):
        data = crops(tree, source=source)
        for number in range(6):
            images, label, swap = data[number]
            assert images.shape == (2, 3, 32, 32)
            assert label.shape == (1, 32, 32)
            assert set(label.unique().tolist()) <= {0.0, 1.0}
            assert swap.dtype == torch.bool
    images, label, _ = crops(tree, dates=1)[0]
    assert images.shape == (1, 3, 32, 32)


def test_label_stays_with_the_images(tree: Path) -> None:
    data = crops(tree, source=Source(str(tree), scale=(0.7, 1.4)), focus=1.0)
    for number in range(12):
        images, label, _ = data[number]
        if 0 < label.sum() < label.numel():
            for date in images.mean(1):
                assert date[label[0] > 0].mean() > date[label[0] == 0].mean() + 0.1


def test_focus_finds_labelled_pixels(tree: Path) -> None:
    focused, anywhere = (crops(tree, focus=focus) for focus in (1.0, 0.0))
    share = [np.mean([bool(data[n][1].any()) for n in range(30)]) for data in (focused, anywhere)]
    assert share[0] > 0.8
    assert share[1] < share[0]


def test_swap_is_a_share(tree: Path) -> None:
    drawn = [bool(crops(tree)[n][2]) for n in range(40)]
    assert 8 < sum(drawn) < 32
    assert not any(bool(crops(tree, swap=0.0)[n][2]) for n in range(10))


def test_processes_and_parts_share_a_step() -> None:
    whole = list(micro_batches(3, 6, 8, 1, Processes(0, 1, torch.device("cpu"))))
    assert whole == [list(range(8 * step, 8 * step + 8)) for step in (3, 4, 5)]
    parts = [list(micro_batches(3, 6, 8, 2, Processes(rank, 2, torch.device("cpu")))) for rank in (0, 1)]
    assert len(parts[0]) == 6
    for step in range(3):
        taken = [number for part in parts for micro in (0, 1) for number in part[2 * step + micro]]
        assert sorted(taken) == whole[step]


def test_what_a_small_image_lacks_is_its_mirror_image(tmp_path: Path) -> None:
    """As in validation and `run`; it is not enlarged, so that what is learnt has the size it has in the field."""
    pixels = np.random.default_rng(0).integers(0, 255, (20, 28, 3), np.uint8)
    for folder in ("A", "B", "label"):
        (tmp_path / "train" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "train" / folder / "0.png"), pixels if folder != "label" else pixels[..., 0] // 128)
    images, label, _ = crops(tmp_path, augment=False, focus=1.0)[0]
    rgb = pixels[..., ::-1].transpose(2, 0, 1)
    assert np.array_equal(np.rint(images[0, :, :20, :28].numpy() * 255), rgb)
    assert np.array_equal(np.rint(images[0, :, 20:, :28].numpy() * 255), rgb[:, 18:6:-1])
    assert np.array_equal(label[0, :20, :28].numpy(), pixels[..., 0] // 128)
    assert np.array_equal(label[0, 20:, :28].numpy(), (pixels[..., 0] // 128)[18:6:-1])
