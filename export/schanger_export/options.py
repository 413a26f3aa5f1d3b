"""What training, `calibrate` and `export` are asked for. Options of a training travel in its checkpoints.

Needs neither torch nor onnx: the command line reads its flags from here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from schanger_edge.datasets.sources import SINGLE_DATES, TRAINING, Source, Takes, parse_source
from schanger_edge.errors import SchangerError
from schanger_edge.model.card import TILE_MULTIPLE, Normalization, normalization_from
from schanger_edge.model.published import DATASETS
from schanger_edge.options import OptionGroups, Options, given, option
from schanger_export.architecture import Size
from schanger_export.cards import read_normalization

Task = Literal["change", "single-date"]
Amp = Literal["auto", "none", "fp16", "bf16"]
_Self = TypeVar("_Self", bound="Training")


@dataclasses.dataclass(frozen=True)
class Data(Options):
    """What it learns from.

    Sources are written as docs/sources.md says; no validation data leaves validation out.
    """

    title = "Data"

    sources: tuple[str, ...] = option((), "Training data, as arguments.", flag="SOURCE...")
    validation: tuple[str, ...] = option(
        (), "Validation data, or `none`.", unset="split val of each folder", flag="--val"
    )
    normalization: Normalization | None = option(
        None,
        "JSON file with colour statistics.",
        parse=lambda text: read_normalization(Path(text)),
        unit="file",
        unset="of the data or the start weights",
    )


@dataclasses.dataclass(frozen=True)
class Network(Options):
    """The network, and the weights it starts from."""

    title = "Network"

    size: Size | None = option(None, "Network size.", unset="that of the initial weights, else small")
    init: str | None = option(
        None, "Weights to start from: a file, schanger-small, pretrain:base, levir-cd:small.", unset="random"
    )
    drop: float = option(0.2, "Rate of DropPath and dropout.", at_least=0, below=1)
    freeze_batchnorm: bool = option(False, "Freeze BatchNorm's statistics; for small datasets.")


@dataclasses.dataclass(frozen=True)
class Schedule(Options):
    """How long, in steps of what size.

    An epoch counts each source `repeat` times. Dice takes its sums over a micro-batch.
    """

    title = "Schedule"

    epochs: int = option(200, "Epochs; one epoch is one crop of every image.", at_least=1)
    warmup_epochs: float = option(10, "Epochs of linear warm-up.", at_least=0)
    eval_interval: int = option(10, "Epochs between validations.", at_least=1)
    batch_size: int = option(8, "Samples per step, over all processes.", flag="--batch", at_least=1)
    accumulate: int = option(1, "Number of micro-batches per step.", at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup_epochs >= self.epochs:
            raise SchangerError(
                f"--warmup-epochs must be less than --epochs ({self.epochs}), not {self.warmup_epochs}."
            )
        if self.batch_size % self.accumulate:
            raise SchangerError(f"--batch {self.batch_size} must be a multiple of --accumulate.")


@dataclasses.dataclass(frozen=True)
class Optimizer(Options):
    """What a step does."""

    title = "Optimizer"

    rate: float = option(5e-4, "Peak learning rate.", above=0)
    weight_decay: float = option(2e-4, "Weight decay of the kernels.", at_least=0)
    clip: float = option(0.0, "Maximum gradient norm; 0 means no clipping.", flag="--max-norm", at_least=0)
    ema: float = option(0.9998, "Decay of the averaged weights (EMA).", at_least=0, below=1)
    ema_every: int = option(8, "Steps between updates of the average.", at_least=1)
    side_losses: bool = option(True, "Train only on the fused map.", flag="--no-side-losses")
    amp: Amp = option("auto", "Mixed precision; auto is fp16 on CUDA, none on the CPU.")


@dataclasses.dataclass(frozen=True)
class Sampling(Options):
    """How crops are drawn and augmented."""

    title = "Crops and augmentation"

    tile: int = option(256, "Side of a crop in pixels, a multiple of 16.", at_least=32)
    swap: float = option(0.5, "Share of pairs whose dates are swapped.", at_least=0, at_most=1)
    focus: float = option(0.0, "Share of crops placed around a labelled pixel.", at_least=0, at_most=1)
    jitter: float = option(0.0, "Strength of the colour jitter applied to each date separately.", at_least=0, at_most=1)
    cast: float = option(0.0, "Strength of the colour jitter applied to both dates together.", at_least=0, at_most=1)
    negatives: float = option(
        0.0, "Share of pairs that show one date twice, so that nothing changed.", at_least=0, at_most=1
    )
    augment: bool = option(True, "Train on unaugmented crops.", flag="--no-augmentation")
    seed: int = option(36, "Seed of all random numbers.", at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tile % TILE_MULTIPLE:
            raise SchangerError(f"--tile must be a multiple of 16, at least 32, not {self.tile}.")


@dataclasses.dataclass(frozen=True)
class Facts(Options):
    """What the model card says of the weights."""

    title = "Model card"

    dataset: str | None = option(
        None,
        "Name of the dataset; for `train`, a benchmark dataset's name selects its published settings.",
        unset="from the folders",
    )
    gsd: float | None = option(
        None, "Metres per pixel of the images.", unit="metres per pixel", above=0, unset="from the data, if known"
    )
    license: str | None = option(None, "Licence of the weights.", unset="not stated")


@dataclasses.dataclass(frozen=True)
class Training(OptionGroups):
    """One run on labelled pairs. The defaults are the published ones; a dataset's preset goes before them."""

    data: Data = Data()
    network: Network = Network()
    schedule: Schedule = Schedule()
    optimizer: Optimizer = Optimizer()
    sampling: Sampling = Sampling()
    facts: Facts = Facts()

    task: ClassVar[Task] = "change"
    dates: ClassVar[int] = 2
    """Images per sample."""
    takes: ClassVar[Takes] = TRAINING
    """What its sources may say."""

    @property
    def size(self) -> Size:
        """Which network."""
        return self.network.size or "small"

    def sources(self) -> list[Source]:
        """Training data; DatasetError where one cannot be read."""
        return [parse_source(text, self.takes) for text in self.data.sources]

    def validation(self) -> list[Source]:
        """The same of the validation data."""
        return [parse_source(text, self.takes, split="val") for text in self.data.validation]

    @classmethod
    def with_presets(cls: type[_Self], **values: Any) -> _Self:
        """Published settings of the task and of the dataset, under what is given (None is not given).

        Raises:
            TypeError: there is no such option.
            SchangerError: a value is out of range.
        """
        values = given(values)
        preset = cls._preset(values.get("dataset", ""))
        usual = {**cls().values(), **preset}
        epochs, planned = values.get("epochs", usual["epochs"]), usual["epochs"]
        if epochs != planned:  # a shorter run warms up and validates in proportion
            preset["warmup_epochs"] = usual["warmup_epochs"] * epochs / planned
            preset["eval_interval"] = max(1, round(usual["eval_interval"] * epochs / planned))
        return cls.of(**{**preset, **values})

    @classmethod
    def _preset(cls, dataset: str) -> dict[str, Any]:
        known = DATASETS.get(dataset.lower())
        if known is None:
            return {}
        return {**dataclasses.asdict(known.training), "normalization": known.normalization, "gsd": known.gsd}

    def as_dict(self) -> dict[str, Any]:
        """Plain values without their groups, for checkpoints."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in self.values().items()}
        if self.data.normalization is not None:
            values["normalization"] = dataclasses.asdict(self.data.normalization)
        return {"task": self.task, **values}


@dataclasses.dataclass(frozen=True)
class Pretraining(Training):
    """The same on single images with masks."""

    schedule: Schedule = Schedule(epochs=4000, warmup_epochs=400, eval_interval=50, batch_size=16)
    optimizer: Optimizer = Optimizer(ema_every=16)

    task = "single-date"
    dates = 1
    takes = SINGLE_DATES

    @classmethod
    def _preset(cls, dataset: str) -> dict[str, Any]:
        return {}


@dataclasses.dataclass(frozen=True)
class Machine(Options):
    """What a run uses of the machine; nothing of it decides about the weights but for rounding."""

    title = "Machine"

    device: str = option("auto", "auto, cpu or cuda.")
    threads: int | None = option(None, "CPU threads.", at_least=1, unset="torch's choice")
    workers: int = option(0, "Processes that read and augment data; 0 reads between steps.", at_least=0)
    tensorboard: bool = option(False, "Also write TensorBoard events.")
    save_seconds: float = option(120.0, "Seconds between saves of last.pth.", unit="seconds", at_least=0)


def training_from(values: Mapping[str, Any]) -> Training:
    """The reverse of `Training.as_dict`, also of earlier versions; keys of other versions are ignored."""
    kind = Pretraining if values.get("task") == "single-date" else Training
    values = {"batch_size": values.get("batch"), **values}
    known = {one.name: values[one.name] for one in kind.described() if values.get(one.name) not in (None, "", {})}
    if "normalization" in known:
        known["normalization"] = normalization_from(known["normalization"])
    return kind.of(**{key: tuple(value) if isinstance(value, list) else value for key, value in known.items()})


Method = Literal["auto", "percentile", "entropy", "minmax"]
METHODS = ("percentile", "entropy", "minmax")
LEAST = 8  # tiles to take ranges on
SEED = 36


@dataclasses.dataclass(frozen=True)
class CalibrationOptions(Options):
    """How an FP32 model becomes INT8.

    Without FP16 the opset stays 17. Labels count towards the loss where all held-aside tiles have them; the parent's
    own map always does.
    """

    title = "Calibration"

    fp16: bool = option(False, "Use FP16 instead of FP32 for everything that is not INT8 (opset 19).")
    method: Method = option("auto", "How ranges become scales; auto tries every method.")
    samples: int = option(256, "Tiles to measure ranges on; 25 % more are held out.", flag="--tiles", at_least=LEAST)
    max_f1_loss: float = option(
        0.5, "Largest loss of F1 allowed, in points, against labels and against the original's map."
    )
    seed: int = option(SEED, "Seed for drawing tiles.", at_least=0)


@dataclasses.dataclass(frozen=True)
class ExportOptions(Options):
    """What a model's card says, where it is not what the checkpoint's own card says, or the weights' name.

    The file of colour statistics holds `{"before": {"mean": [r, g, b], "std": [...]}, "after": {...}}`. Tiles below 256
    have a smaller halo by default. Without a GSD that of the dataset is taken; a name is made from size and dataset.
    """

    title = "Model card"

    size: Size | None = option(None, "Expected network size.", unset="taken from the weights")
    dataset: str | None = option(None, "Benchmark dataset whose colour statistics to use.", unset="that of the weights")
    normalization: Path | None = option(None, "Or a JSON file with colour statistics.")
    tile: int | None = option(None, "Side of the tiles that it is meant for in pixels, a multiple of 16.", unset="256")
    halo: int | None = option(None, "Context around a tile's core, in pixels.", unset="32")
    threshold: float | None = option(None, "The model's default threshold.", unset="0.5")
    gsd: float | None = option(None, "Metres per pixel of the training images.")
    name: str | None = option(None, "Name of the model.")
    license: str | None = option(None, "Licence of the weights.")
