"""The card survives its JSON and refuses nonsense."""

from __future__ import annotations

import dataclasses
import json

import pytest

from schanger_edge.errors import ModelError
from schanger_edge.model.card import ModelCard, Normalization, Statistics, normalization_from

STATISTICS = Statistics(mean=(0.45, 0.44, 0.38), std=(0.19, 0.18, 0.17))
CARD = ModelCard(
    name="m", size="small", dataset="levir-cd", tile=256, halo=32, threshold=0.5, gsd=0.5,
    normalization=Normalization(STATISTICS, STATISTICS), scores={"a": {"f1": 0.5}}, license="research",
    tiling="scored best",
)  # fmt: skip


def test_round_trip() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_keys_of_a_newer_version_are_ignored() -> None:
    values = {**json.loads(CARD.to_json()), "colour_of_the_future": 1}
    assert ModelCard.from_json(json.dumps(values)) == CARD


def test_nodes_that_stay_fp32() -> None:
    """A card of before they were named reads as naming none."""
    card = dataclasses.replace(CARD, kept_fp32=("/norm/Pow", "/norm/Sqrt"))
    assert ModelCard.from_json(card.to_json()) == card
    values = json.loads(card.to_json())
    del values["kept_fp32"]
    assert ModelCard.from_json(json.dumps(values)) == CARD


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"name": "m"}', '{"normalization": 3}'])
def test_no_card(text: str) -> None:
    with pytest.raises(ModelError, match=r"card cannot be read|normalization must"):
        ModelCard.from_json(text)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("tile", 250, "multiple of 16"),
        ("tile", 0, "multiple of 16"),
        ("halo", 128, "halo"),
        ("halo", -1, "halo"),
        ("threshold", 1.5, "threshold"),
        ("threshold", 1.0, "threshold must be at least 0 and less than 1"),
        ("gsd", 0.0, "gsd"),
        ("gsd", float("nan"), "gsd"),
    ],
)
def test_nonsense(field: str, value: float, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        dataclasses.replace(CARD, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scores", "x"),
        ("scores", {"levir": 1}),
        ("scores", {"levir": {"f1": float("inf")}}),
        ("calibration", []),
        ("dataset", 1),
        ("license", 0.5),
        ("tiling", 32),
        ("halo", -0.0),
        ("tile", True),
        ("size", float("inf")),
        ("threshold", "0.5"),
        ("gsd", []),
        ("bands", ["red", 1, "blue"]),
        ("name", "\ud800"),
    ],
)
def test_types_and_what_a_summary_cannot_hold(field: str, value: object) -> None:
    """They would end a run after all its work."""
    with pytest.raises(ModelError, match="the model card"):
        ModelCard.from_json(json.dumps({**json.loads(CARD.to_json()), field: value}))


def test_statistics() -> None:
    assert STATISTICS.mean_color == (115, 112, 97)
    with pytest.raises(ModelError, match="scaled to 0-1"):
        Statistics(mean=(115, 112, 97), std=(50, 40, 40))
    with pytest.raises(ModelError, match="three means"):
        Statistics(mean=(0.1,), std=(0.1,))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="must look like"):
        normalization_from({"before": {"mean": [0.1, 0.1, 0.1]}})
