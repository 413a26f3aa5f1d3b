"""The model that comes with the package, and the demo that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from schanger_edge.errors import ModelError, ProductError
from schanger_edge.evaluation.demo import demo, score
from schanger_edge.model.bundled import DEFAULT, model_path, names
from schanger_edge.sessions import open_session
from schanger_edge.synthetic import write_pair


def test_bundled_models_keep_the_contract_and_say_what_they_are() -> None:
    assert DEFAULT in names()
    for name in names():
        with open_session(model_path(name)) as session:
            card = session.card
        assert card.name == name
        assert card.license
        assert card.dataset
        assert card.tiling
        assert len(card.weights_sha256) == 64
        assert {"levir/val", "synthetic"} <= set(card.scores)
        assert all(0 < scores["f1"] < 1 for scores in card.scores.values())


def test_model_by_name_or_path(tmp_path: Path) -> None:
    assert model_path(None) == model_path(DEFAULT)
    assert model_path(model_path(DEFAULT)) == model_path(DEFAULT)
    with pytest.raises(ModelError, match="schanger-small"):
        model_path("schanger-gigantic")


def test_demo_that_cannot_write_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ProductError, match=r"taken.scene cannot be created"):
        demo(tmp_path / "taken", side=64)


def test_full_disk_leaves_no_scene(small_disk: Path) -> None:
    with pytest.raises(ProductError, match="cannot be written"):
        write_pair(small_disk / "scene", width=900, height=900, after_crs="EPSG:4326")
    assert list((small_disk / "scene").iterdir()) == []


def test_demo_finds_change(tmp_path: Path) -> None:
    result = demo(tmp_path, side=512, seed=14)
    assert result.pair.after.exists()
    assert result.counts.total == result.detection.valid
    assert result.counts == score(result.detection.change, result.pair.truth)
    labelled = result.counts.true_positive + result.counts.false_negative
    chance = labelled / result.counts.total  # the precision of a blind guess
    assert labelled > 0
    assert result.counts.precision > 3 * chance
    assert result.counts.recall > 0.3
