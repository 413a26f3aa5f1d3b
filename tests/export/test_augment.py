"""One geometry for every date and the label; every draw follows from the seed."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from schanger_export.augment import Augmentation, _published  # noqa: E402

SEEDS = range(24)
EMBOSS = 4  # its number among the published changes


def sample(dates: int):  # type: ignore[no-untyped-def]
    """Images that show the label: bright squares on dark."""
    label = torch.zeros(1, 64, 64)
    label[:, 8:30, 40:60] = 1
    label[:, 44:60, 4:20] = 1
    return (0.25 + 0.5 * label).expand(dates, 3, 64, 64).clone(), label


def test_dates_and_label_are_turned_alike() -> None:
    images, label = sample(2)
    augment = Augmentation(2)
    moved = 0
    for seed in SEEDS:
        turned, mask = augment(images, label, seed)
        assert turned.shape == (2, 3, 64, 64)
        assert mask.shape == (1, 64, 64)
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert 0 <= turned.min() <= turned.max() <= 1
        for date in turned.mean(1):
            inside, outside = date[mask[0] > 0], date[mask[0] == 0]
            assert inside.mean() > outside.mean() + 0.15
        moved += not torch.equal(mask, label)
    assert moved > len(SEEDS) / 2


def test_a_seed_gives_one_sample_and_leaves_the_generator_alone() -> None:
    images, label = sample(2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = Augmentation(2, jitter=0.5)(images, label, 7)
    assert torch.equal(torch.get_rng_state(), before)
    augment = Augmentation(2, jitter=0.5)
    augment(images, label, 8)
    again = augment(images, label, 7)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], augment(images, label, 9)[0])


def test_photometric_draws_are_shared_unless_asked_for_apart() -> None:
    images, label = sample(2)
    together = [Augmentation(2)(images, label, seed)[0] for seed in SEEDS]
    noise = 0.05  # sensor noise differs between the dates
    assert all((t[0] - t[1]).abs().mean() < noise for t in together)
    apart = [Augmentation(2, jitter=1.0)(images, label, seed)[0] for seed in SEEDS]
    assert sum(float((t[0] - t[1]).abs().mean()) > noise for t in apart) > len(SEEDS) / 3


def test_single_dates() -> None:
    images, label = sample(1)
    augment = Augmentation(1)
    results = [augment(images, label, seed)[0] for seed in SEEDS]
    assert all(r.shape == (1, 3, 64, 64) for r in results)
    assert len({round(float(r.mean()), 4) for r in results}) > len(SEEDS) / 3


def test_a_cast_falls_on_both_dates_alike() -> None:
    images, label = sample(2)
    augment = Augmentation(2, cast=1.0)
    turned = [augment(images, label, seed)[0] for seed in SEEDS]
    assert all((dates[0] - dates[1]).abs().mean() < 0.05 for dates in turned)
    casts = [dates.mean((0, 2, 3)) for dates in turned]
    assert sum(float(cast.max() - cast.min()) > 0.05 for cast in casts) > len(SEEDS) / 3


def test_one_date_twice_has_no_change() -> None:
    images, label = sample(2)
    turned = [Augmentation(2, jitter=1.0, negatives=1.0)(images, label, seed) for seed in SEEDS]
    assert not any(mask.any() for _, mask in turned)
    assert not all(torch.equal(*dates) for dates, _ in turned)


def test_emboss_is_the_published_filter() -> None:
    """Its answer to one bright pixel: 1 in the middle, alpha (1 + strength) at two corners, alpha strength beside."""
    image = np.full((9, 9, 3), 0.5, np.float32)
    image[4, 4] += 0.1
    found = 0
    for seed in range(60):
        if np.random.default_rng(seed).integers(6) == EMBOSS:
            answer = (_published([image], np.random.default_rng(seed))[0][..., 0] - 0.5) / 0.1
            corner, beside = answer[3, 3], answer[3, 4]
            alpha = corner - beside
            assert answer[4, 4] == pytest.approx(1, abs=1e-4)
            assert 0.2 <= alpha <= 0.5
            assert 0.2 <= beside / alpha <= 0.7
            assert answer[5, 5] == pytest.approx(-corner, abs=1e-4)
            assert answer[3, 5] == pytest.approx(0, abs=1e-4)
            found += 1
    assert found > 4


def test_emboss_raises_the_contrast_of_edges() -> None:
    grain = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 0.2 + 0.4
    image = np.ascontiguousarray(grain[0].numpy().transpose(1, 2, 0))
    embossed = [
        float(np.diff(_published([image], np.random.default_rng(seed))[0], axis=1).std())
        for seed in range(200)
        if np.random.default_rng(seed).integers(6) == EMBOSS
    ]
    assert len(embossed) > 10
    assert min(embossed) > float(np.diff(image, axis=1).std())
