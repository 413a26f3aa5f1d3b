"""What a training run is asked for: plain values that travel in its checkpoints, with the published presets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from schanger_edge.datasets import BenchmarkDataset
from schanger_edge.datasets import dataset as benchmark_dataset
from schanger_edge.errors import SchangerError
from schanger_edge.model_card import TILE_MULTIPLE

Task = Literal["change", "single-date"]
Amp = Literal["auto", "none", "fp16", "bf16"]


@dataclasses.dataclass(frozen=True)
class Options:
    """One run. The defaults are the published ones; what a dataset's preset says stands above them.

    Attributes:
        task: `change` for pairs, `single-date` for pre-training.
        size: `small` or `base`; empty is that of the start weights, else small.
        sources: training data, as `crops.Source.parse` reads it.
        validation: the same, scored while training; empty leaves validation out.
        dataset: what the data are called in the model card; a benchmark dataset's name brings its preset.
        init: weights to start from, see `weights.resolve`; empty starts from random ones.
        epochs: an epoch is one crop of every image (times its source's `repeat`).
        warmup_epochs: epochs of linear warm-up.
        eval_interval: epochs between two validations.
        batch: samples in a step, over all processes and micro-batches.
        accumulate: micro-batches in a step. Dice then takes its sums over a micro-batch.
        tile: side of a crop in pixels.
        rate: highest learning rate.
        weight_decay: of kernels.
        drop: rate of DropPath and dropout.
        ema: decay of the averaged weights.
        ema_every: steps between two updates of the average.
        clip: largest norm of the gradient; 0 leaves it alone.
        swap: share of pairs whose dates are exchanged.
        side_losses: also train the five side maps.
        focus: share of crops laid around a labelled pixel.
        jitter: 0 to 1, how far light and colour of each date are drawn apart from the other's.
        cast: 0 to 1, how far light and colour of both dates are drawn together.
        negatives: share of pairs that show one date twice.
        augment: turn, warp and recolour the crops.
        freeze_batchnorm: keep BatchNorm's statistics.
        seed: what every draw follows from.
        amp: mixed precision: `auto` is fp16 on CUDA and none on the CPU.
        normalization: colour statistics, as in a model card; empty takes those of the data or the start weights.
        gsd: metres per pixel of the training images, where known.
        license: licence of the weights, for the model card.
    """

    task: Task = "change"
    size: str = ""
    sources: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    dataset: str = ""
    init: str = ""
    epochs: int = 200
    warmup_epochs: float = 10
    eval_interval: int = 10
    batch: int = 8
    accumulate: int = 1
    tile: int = 256
    rate: float = 5e-4
    weight_decay: float = 2e-4
    drop: float = 0.2
    ema: float = 0.9998
    ema_every: int = 8
    clip: float = 0.0
    swap: float = 0.5
    side_losses: bool = True
    focus: float = 0.0
    jitter: float = 0.0
    cast: float = 0.0
    negatives: float = 0.0
    augment: bool = True
    freeze_batchnorm: bool = False
    seed: int = 36
    amp: Amp = "auto"
    normalization: dict[str, Any] = dataclasses.field(default_factory=dict)
    gsd: float | None = None
    license: str = ""

    def __post_init__(self) -> None:
        whole = (self.epochs, self.eval_interval, self.accumulate, self.ema_every, self.batch)
        shares = (self.swap, self.focus, self.jitter, self.cast, self.negatives)
        tile, epochs, warmup = self.tile, self.epochs, self.warmup_epochs
        checks = (
            (self.size in ("", "small", "base"), f"--size must be small or base, not {self.size}"),
            (bool(self.sources), "a new run needs training data: name at least one folder"),
            (tile >= 32 and tile % TILE_MULTIPLE == 0, f"--tile must be a multiple of 16 from 32 on, not {tile}"),
            (min(whole) >= 1, "epochs, steps and samples must be at least 1"),
            (0 <= warmup < epochs, f"--warmup-epochs must be less than --epochs ({epochs}), not {warmup}"),
            (self.batch % self.accumulate == 0, f"--batch {self.batch} must be a multiple of --accumulate"),
            (self.rate > 0, f"--rate must be above 0, not {self.rate}"),
            (min(self.weight_decay, self.clip) >= 0, "--weight-decay and --clip must not be negative"),
            (0 <= self.drop < 1 and 0 <= self.ema < 1, "--drop and --ema must be from 0 to below 1"),
            (
                0 <= min(shares) <= max(shares) <= 1,
                "--swap, --focus, --jitter, --cast and --negatives must lie between 0 and 1",
            ),
            (self.amp in ("auto", "none", "fp16", "bf16"), f"--amp must be auto, none, fp16 or bf16, not {self.amp}"),
        )
        for fine, sentence in checks:
            if not fine:
                raise SchangerError(f"{sentence}.")

    @property
    def dates(self) -> int:
        """Images per sample."""
        return 2 if self.task == "change" else 1

    @classmethod
    def with_presets(cls, task: Task, **given: Any) -> Options:
        """Published settings of the task and of the dataset, under what is given (None is not given).

        Raises:
            SchangerError: a value is out of range.
        """
        values = {key: value for key, value in given.items() if value is not None}
        preset: dict[str, Any] = {}
        if task == "single-date":
            preset = {"epochs": 4000, "warmup_epochs": 400, "eval_interval": 50, "batch": 16, "ema_every": 16}
        elif values.get("dataset") and (known := known_dataset(values["dataset"])):
            training = known.training
            preset = {
                "epochs": training.epochs,
                "warmup_epochs": training.warmup_epochs,
                "eval_interval": training.eval_interval,
                "normalization": dataclasses.asdict(known.normalization),
                "gsd": known.gsd,
            }
        epochs = values.get("epochs", preset.get("epochs", cls.epochs))
        planned = preset.get("epochs", cls.epochs)
        if epochs != planned:  # a shorter run warms up and validates in proportion
            preset["warmup_epochs"] = preset.get("warmup_epochs", cls.warmup_epochs) * epochs / planned
            preset["eval_interval"] = max(1, round(preset.get("eval_interval", cls.eval_interval) * epochs / planned))
        return cls(task=task, **{**preset, **values})

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        return {**dataclasses.asdict(self), "sources": list(self.sources), "validation": list(self.validation)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Options:
        """The reverse of `as_dict`; keys of another version are ignored."""
        known = {field.name for field in dataclasses.fields(cls)}
        values = {key: value for key, value in values.items() if key in known}
        return cls(**{**values, "sources": tuple(values["sources"]), "validation": tuple(values["validation"])})


def root_of(source: str) -> Path:
    """The folder of a source as it is written, `ROOT[,key=value]...`."""
    return Path(source.partition(",")[0])


def known_dataset(name: str) -> BenchmarkDataset | None:
    """The benchmark dataset of this name; None for a name of the user's own."""
    try:
        return benchmark_dataset(name)
    except SchangerError:
        return None
