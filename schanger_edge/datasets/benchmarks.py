"""The six benchmark datasets: published scores, colour statistics and training presets.

Paper scores: tables III-VIII of Zhou, Hu, Fang, Rui, "SChanger", IEEE JSTARS 18 (2025), doi
10.1109/JSTARS.2025.3555849. Checkpoint scores: the authors' re-measurement of the published checkpoints in float32,
2026-09-13. Protocol of both: whole test split in 256x256 tiles without overlap, label != 0, probability > 0.5, one
pixel-level confusion matrix.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from schanger_edge.errors import DatasetError
from schanger_edge.model.card import Normalization, Statistics

Scores = tuple[float, float]
Epochs = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class TrainingPreset:
    """How long to fine-tune; an epoch is one random crop of every training image.

    Attributes:
        epochs: epochs in all.
        warmup_epochs: epochs of linear warm-up at the start.
        eval_interval: epochs between two validations.
    """

    epochs: int
    warmup_epochs: int
    eval_interval: int


@dataclasses.dataclass(frozen=True)
class BenchmarkDataset:
    """One dataset as published.

    Attributes:
        name: the dataset's name in commands and model cards.
        suffix: the dataset in the names of the published checkpoints.
        test_tiles: 256x256 tiles of the whole official test split; a score over fewer is not comparable.
        paper_f1: F1 of the change class in percent by network size, from the article.
        checkpoint_f1: the same, of the published checkpoints.
        normalization: colour statistics of both dates, on pixel values scaled to 0-1.
        gsd: metres per pixel; the middle of a stated range; None where the source does not state it.
        training: preset for fine-tuning.
    """

    name: str
    suffix: str
    test_tiles: int
    paper_f1: Mapping[str, float]
    checkpoint_f1: Mapping[str, float]
    normalization: Normalization
    gsd: float | None
    training: TrainingPreset

    def checkpoint_name(self, size: str) -> str:
        """File name of the published checkpoint of a network size, `small` or `base`."""
        return f"schanger_{size}_{self.suffix}.pth"


def dataset(name: str) -> BenchmarkDataset:
    """The benchmark dataset of this name (upper or lower case).

    Raises:
        DatasetError: there is none of this name.
    """
    try:
        return DATASETS[name.lower()]
    except KeyError:
        raise DatasetError(f"dataset {name!r} is unknown: use one of {', '.join(DATASETS)}.") from None


_COLOURS = {
    "levir-cd": (
        (0.45026044289717515, 0.446668114688959, 0.3813465843039952),
        (0.1925891780535157, 0.18164736340554913, 0.16908678193942883),
        (0.34552285333028, 0.33819558165046604, 0.2888154650337241),
        (0.14433633445688848, 0.1401681538629398, 0.13276723187123793),
    ),
    "levir-cd+": (
        (0.44647954328364314, 0.4425350729119489, 0.37772247105291523),
        (0.17393848294858438, 0.16415722704169214, 0.15207397340451662),
        (0.34149348254723466, 0.33470663280786256, 0.28560712156317297),
        (0.12841433472657252, 0.12489144021947284, 0.11756364158419577),
    ),
    "s2looking": (
        (0.1756563170737354, 0.2079043436860333, 0.20398528359401305),
        (0.04915355711295602, 0.04447053661059804, 0.038774352593883774),
        (0.20595298809338627, 0.22024522453346954, 0.21245906289690175),
        (0.045972087983977485, 0.03746535561357242, 0.02999644454313758),
    ),
    "cdd": (
        (0.35389370022153016, 0.391042128623277, 0.3430657129250467),
        (0.15333629660289735, 0.15479207785390317, 0.1429063016015105),
        (0.4732441990595311, 0.4986155928853899, 0.46873126817047595),
        (0.1606831526578404, 0.1639589279582724, 0.15758858984299004),
    ),
    "sysu-cd": (
        (0.3965957462346802, 0.5284619560142358, 0.4654002889618278),
        (0.20213536989712155, 0.1581118941680373, 0.15296702515659855),
        (0.4020236350192378, 0.48766126711418234, 0.3989568755030632),
        (0.18235274970981602, 0.15682769317319617, 0.15437150396398888),
    ),
    "whu-cd": (
        (0.4906890077723397, 0.4491115826489223, 0.3930196344090307),
        (0.1433577906070162, 0.13829191044634914, 0.13756053347688338),
        (0.4914005221454082, 0.4903548757892227, 0.46980905483889096),
        (0.1817076689000299, 0.17195927966763866, 0.1784981031158062),
    ),
}
"""Mean and standard deviation of the earlier date, then of the later one."""


def _entry(  # as tables list them: scores of small and base; epochs, those of warm-up, those between validations
    name: str, suffix: str, tiles: int, paper: Scores, checkpoint: Scores, gsd: float | None, training: Epochs
) -> BenchmarkDataset:
    before, before_std, after, after_std = _COLOURS[name]
    normalization = Normalization(Statistics(before, before_std), Statistics(after, after_std))
    paper_f1, checkpoint_f1 = (dict(zip(("small", "base"), found, strict=True)) for found in (paper, checkpoint))
    return BenchmarkDataset(name, suffix, tiles, paper_f1, checkpoint_f1, normalization, gsd, TrainingPreset(*training))


_TABLE = (
    _entry("levir-cd", "levir", 2048, (92.45, 92.87), (92.4391, 92.8831), 0.5, (12000, 600, 50)),
    _entry("levir-cd+", "levir_plus", 5568, (86.2, 86.43), (86.196, 86.4259), None, (9000, 450, 50)),
    _entry("s2looking", "s2looking", 16000, (68.2, 68.95), (68.1994, 68.9598), 0.65, (3000, 150, 30)),
    _entry("cdd", "cdd", 3000, (95.75, 97.62), (95.7662, 97.6225), None, (500, 50, 10)),
    _entry("sysu-cd", "sysu", 4000, (84.58, 84.17), (84.5759, 84.1692), 0.5, (450, 10, 10)),
    _entry("whu-cd", "whu", 2760, (93.15, 93.2), (93.5141, 93.202), None, (1000, 20, 25)),
)

DATASETS: Mapping[str, BenchmarkDataset] = {entry.name: entry for entry in _TABLE}
"""All six by name."""
