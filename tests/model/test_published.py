"""The table of benchmark datasets against the published figures."""

from __future__ import annotations

import math

import pytest

from schanger_edge.errors import DatasetError
from schanger_edge.model.published import DATASETS, MODELS, VALUES, dataset
from schanger_export.architecture import shapes


def test_six_datasets_with_complete_entries() -> None:
    assert list(DATASETS) == ["levir-cd", "levir-cd+", "s2looking", "cdd", "sysu-cd", "whu-cd"]
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert set(entry.paper_f1) == set(entry.checkpoint_f1) == {"small", "base"}
        assert all(abs(entry.paper_f1[size] - entry.checkpoint_f1[size]) < 0.4 for size in entry.paper_f1)
        assert entry.training.warmup_epochs < entry.training.epochs


@pytest.mark.parametrize(
    ("name", "tiles", "small", "base", "checkpoint_small"),
    [
        ("levir-cd", 2048, 92.45, 92.87, 92.4391),
        ("levir-cd+", 5568, 86.2, 86.43, 86.196),
        ("s2looking", 16000, 68.2, 68.95, 68.1994),
        ("cdd", 3000, 95.75, 97.62, 95.7662),
        ("sysu-cd", 4000, 84.58, 84.17, 84.5759),
        ("whu-cd", 2760, 93.15, 93.2, 93.5141),
    ],
)
def test_published_figures(name: str, tiles: int, small: float, base: float, checkpoint_small: float) -> None:
    entry = dataset(name)
    assert entry.test_tiles == tiles
    assert entry.paper_f1 == {"small": small, "base": base}
    assert entry.checkpoint_f1["small"] == checkpoint_small


def test_numbers_of_the_networks() -> None:
    for size, values in VALUES.items():
        assert sum(math.prod(shape) for shape in shapes(size, True).values()) == values


def test_statistics_presets_and_file_names() -> None:
    levir = dataset("LEVIR-CD")
    assert levir.normalization.before.mean == (0.45026044289717515, 0.446668114688959, 0.3813465843039952)
    assert levir.normalization.after.std == (0.14433633445688848, 0.1401681538629398, 0.13276723187123793)
    assert dataset("whu-cd").normalization.after.std[2] == 0.1784981031158062
    assert (levir.training.epochs, levir.training.warmup_epochs, levir.training.eval_interval) == (12000, 600, 50)
    assert dataset("levir-cd+").checkpoint_name("base") == "schanger_base_levir_plus.pth"
    gsds = {name: entry.gsd for name, entry in DATASETS.items()}
    assert gsds == {"levir-cd": 0.5, "levir-cd+": 0.5, "s2looking": 0.65, "cdd": None, "sysu-cd": 0.5, "whu-cd": 0.2}
    assert [name for name, entry in DATASETS.items() if entry.off_nadir] == ["s2looking"]
    assert [*MODELS][:2] == ["levir-cd:small", "levir-cd:base"]


def test_unknown_name_lists_the_six() -> None:
    with pytest.raises(DatasetError, match=r"'spacenet' is unknown: use one of levir-cd, .*, whu-cd\.$"):
        dataset("spacenet")
