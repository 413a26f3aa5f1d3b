"""`schanger-edge pretrain` and `schanger-edge train` (they need the export extra)."""

from __future__ import annotations

import dataclasses
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from schanger_edge.cli.app import app, err, out
from schanger_edge.cli.models import SizeOption
from schanger_edge.errors import SchangerError, missing_extra

if TYPE_CHECKING:
    from schanger_export.train import Progress, Trained

LINE_SECONDS = 30.0  # between two lines where the output is no terminal


class AmpOption(str, Enum):
    """Mixed precision."""

    auto = "auto"
    none = "none"
    fp16 = "fp16"
    bf16 = "bf16"


Sources = Annotated[
    list[str] | None,
    typer.Argument(help="Folders of training data: ROOT[,split=train][,repeat=1][,scale=0.8:1.25][,glob=*.png]."),
]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder of the run: checkpoints, history, curves.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after the last checkpoint in the folder.")]
Validation = Annotated[
    list[str] | None, typer.Option("--val", help="Validation data; `none` for none (split val of each folder).")
]
Size = Annotated[SizeOption | None, typer.Option(help="The network (small).")]
Epochs = Annotated[int | None, typer.Option(help="Epochs; an epoch is one crop of every image.")]
Warmup = Annotated[float | None, typer.Option(help="Epochs of linear warm-up.")]
Interval = Annotated[int | None, typer.Option(help="Epochs between two validations.")]
Batch = Annotated[int | None, typer.Option(help="Samples in a step, over all processes.")]
Accumulate = Annotated[int | None, typer.Option(help="Parts a step's batch is computed in.")]
Tile = Annotated[int | None, typer.Option(help="Side of a crop in pixels (256).")]
Rate = Annotated[float | None, typer.Option(help="Highest learning rate (5e-4).")]
Decay = Annotated[float | None, typer.Option(help="Weight decay of kernels (2e-4).")]
Drop = Annotated[float | None, typer.Option(help="Rate of DropPath and dropout (0.2).")]
Ema = Annotated[float | None, typer.Option(help="Decay of the averaged weights (0.9998).")]
EmaEvery = Annotated[int | None, typer.Option(help="Steps between two updates of the average.")]
Clip = Annotated[float | None, typer.Option(help="Largest norm of the gradient (no limit).")]
Focus = Annotated[float | None, typer.Option(help="Share of crops laid around a labelled pixel (0).")]
NoAugmentation = Annotated[bool, typer.Option("--no-augmentation", help="Leave the crops as they are.")]
Freeze = Annotated[bool, typer.Option("--freeze-batchnorm", help="Keep BatchNorm's statistics: for small sets.")]
Seed = Annotated[int | None, typer.Option(help="What every draw follows from (36).")]
Amp = Annotated[AmpOption | None, typer.Option(help="Mixed precision (auto: fp16 on CUDA, none on CPU).")]
Normalization = Annotated[Path | None, typer.Option(help="JSON file with colour statistics.")]
Gsd = Annotated[float | None, typer.Option(help="Metres per pixel of the images.")]
License = Annotated[str | None, typer.Option("--license", help="Licence of the weights.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads (torch's own number).")]
Workers = Annotated[int, typer.Option(help="Processes that read and augment; 0 reads between the steps.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard events.")]
SaveSeconds = Annotated[float, typer.Option(help="Seconds between two writings of last.pth.")]


@app.command()
def train(
    output: Output,
    sources: Sources = None,
    dataset: Annotated[
        str | None, typer.Option(help="Name of the data; a benchmark dataset's brings its published settings.")
    ] = None,
    init: Annotated[
        str | None, typer.Option(help="Weights to start from: a file, schanger-small, pretrain:base, levir-cd:small.")
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Start from random weights.")] = False,
    val: Validation = None,
    size: Size = None,
    epochs: Epochs = None,
    warmup_epochs: Warmup = None,
    eval_interval: Interval = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    tile: Tile = None,
    rate: Rate = None,
    weight_decay: Decay = None,
    drop: Drop = None,
    ema: Ema = None,
    ema_every: EmaEvery = None,
    clip: Clip = None,
    swap: Annotated[float | None, typer.Option(help="Share of pairs whose dates are exchanged (0.5).")] = None,
    no_side_losses: Annotated[bool, typer.Option("--no-side-losses", help="Train the fused map alone.")] = False,
    focus: Focus = None,
    jitter: Annotated[
        float | None, typer.Option(help="0 to 1: how far each date's light and colour are drawn apart (0).")
    ] = None,
    cast: Annotated[
        float | None, typer.Option(help="0 to 1: how far both dates' light and colour are drawn together (0).")
    ] = None,
    negatives: Annotated[float | None, typer.Option(help="Share of pairs that show one date twice (0).")] = None,
    no_augmentation: NoAugmentation = False,
    freeze_batchnorm: Freeze = False,
    seed: Seed = None,
    amp: Amp = None,
    normalization: Normalization = None,
    gsd: Gsd = None,
    license_text: License = None,
    resume: Resume = False,
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = 0,
    tensorboard: TensorBoard = False,
    save_seconds: SaveSeconds = 120.0,
) -> None:
    """Train on labelled pairs: Siamese fine-tuning from single-date or earlier weights."""
    if not resume and (init is None) != from_scratch:
        raise SchangerError("give either --init WEIGHTS (such as schanger-small or pretrain:base) or --from-scratch.")
    given = {
        "sources": sources, "dataset": dataset, "init": init, "validation": val, "size": size and size.value,
        "epochs": epochs, "warmup_epochs": warmup_epochs, "eval_interval": eval_interval, "batch": batch,
        "accumulate": accumulate, "tile": tile, "rate": rate, "weight_decay": weight_decay, "drop": drop, "ema": ema,
        "ema_every": ema_every, "clip": clip, "swap": swap, "side_losses": False if no_side_losses else None,
        "focus": focus, "jitter": jitter, "cast": cast, "negatives": negatives, "freeze_batchnorm": freeze_batchnorm or None, "seed": seed,
        "augment": False if no_augmentation else None, "amp": amp and amp.value,
        "normalization": _read(normalization), "gsd": gsd, "license": license_text,
    }  # fmt: skip
    run = {"device": device, "threads": threads, "workers": workers, "tensorboard": tensorboard}
    then = "schanger-edge export --checkpoint {} -o model.onnx"
    _train("change", given, output, then, resume=resume, save_seconds=save_seconds, **run)


@app.command()
def pretrain(
    output: Output,
    sources: Sources = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of the masks, where the folder given holds the images alone.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Mask values that count: nonzero, >127 or classes such as 2,3 (auto).")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of the data.")] = None,
    init: Annotated[str | None, typer.Option(help="Weights to start from (random).")] = None,
    val: Validation = None,
    size: Size = None,
    epochs: Epochs = None,
    warmup_epochs: Warmup = None,
    eval_interval: Interval = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    tile: Tile = None,
    rate: Rate = None,
    weight_decay: Decay = None,
    drop: Drop = None,
    ema: Ema = None,
    ema_every: EmaEvery = None,
    clip: Clip = None,
    focus: Focus = None,
    no_augmentation: NoAugmentation = False,
    freeze_batchnorm: Freeze = False,
    seed: Seed = None,
    amp: Amp = None,
    normalization: Normalization = None,
    gsd: Gsd = None,
    license_text: License = None,
    resume: Resume = False,
    device: Device = "auto",
    threads: Threads = None,
    workers: Workers = 0,
    tensorboard: TensorBoard = False,
    save_seconds: SaveSeconds = 120.0,
) -> None:
    """Train the semantic prior on single images with masks of buildings or land cover."""
    if sources and (masks or label):
        extra = (f",masks={masks}" if masks else "") + (f",label={label.replace(',', '+')}" if label else "")
        sources = [source + extra for source in sources]
    given = {
        "sources": sources, "dataset": dataset, "init": init, "validation": val, "size": size and size.value,
        "epochs": epochs, "warmup_epochs": warmup_epochs, "eval_interval": eval_interval, "batch": batch,
        "accumulate": accumulate, "tile": tile, "rate": rate, "weight_decay": weight_decay, "drop": drop, "ema": ema,
        "ema_every": ema_every, "clip": clip, "focus": focus, "freeze_batchnorm": freeze_batchnorm or None,
        "seed": seed, "augment": False if no_augmentation else None, "amp": amp and amp.value,
        "normalization": _read(normalization), "gsd": gsd, "license": license_text,
    }  # fmt: skip
    run = {"device": device, "threads": threads, "workers": workers, "tensorboard": tensorboard}
    then = "schanger-edge train ROOT --init {} -o RUN"
    _train("single-date", given, output, then, resume=resume, save_seconds=save_seconds, **run)


def _train(task: Any, given: dict[str, Any], output: Path, then: str, *, resume: bool, **run: Any) -> None:
    try:
        from schanger_export.options import Options
        from schanger_export.train import train as train_tool
    except ImportError as error:
        raise missing_extra(error, "export") from error

    given = {key: value for key, value in given.items() if value is not None and value != []}
    options = None
    if given or not resume:
        given["sources"] = tuple(given.get("sources", ()))
        given["validation"] = _validation(task, given["sources"], given.get("validation"))
        options = Options.with_presets(task, **given)
    with TrainingLines() as lines:
        trained: Trained = train_tool(options, output, resume=resume, report=lines, **run)
    if not trained.first:
        return
    best = (
        f"best F1 {100 * trained.best_f1:.2f}" if trained.best_f1 is not None else "no validation, last weights taken"
    )
    out.print(f"{trained.step:,} steps, {best}: {trained.checkpoint}")
    out.print(f"curves: {output / 'training.png'}")
    out.print(f"next: {then.format(trained.checkpoint)}")


def _validation(task: str, sources: tuple[str, ...], asked: list[str] | None) -> tuple[str, ...]:
    """What was asked for; else the split val of each folder that has one."""
    from schanger_edge.scene.layouts import pair_files
    from schanger_export.options import root_of

    if asked:
        return () if asked == ["none"] else tuple(asked)
    found = []
    for source in sources if task == "change" else ():
        root = root_of(source)
        try:
            pair_files(root, "val")
        except SchangerError:
            continue
        if str(root) not in found:
            found.append(str(root))
    if task == "change" and not found:
        err.print("no folder has a split val: nothing is validated, the last weights will be taken.", style="yellow")
    return tuple(found)


def _read(path: Path | None) -> dict[str, Any] | None:
    """Colour statistics from a file."""
    if path is None:
        return None
    from schanger_export.cards import read_normalization

    return dataclasses.asdict(read_normalization(path))


class TrainingLines:
    """One line that is kept up to date on a terminal, a line now and then elsewhere; validations stay."""

    def __init__(self) -> None:
        self.live = Live(console=err, refresh_per_second=2, transient=True)
        self.told = 0.0

    def __enter__(self) -> TrainingLines:
        if err.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def __call__(self, progress: Progress) -> None:
        """Show where the run stands."""
        if progress.message:
            err.print(progress.message)
        line = _line(progress)
        if err.is_terminal:
            self.live.update(Text(line))
        elif time.monotonic() - self.told >= LINE_SECONDS or progress.step == progress.steps:
            self.told = time.monotonic()
            err.print(line)


def _line(progress: Progress) -> str:
    f1 = f", F1 {100 * progress.f1:.1f}" if progress.f1 is not None else ""
    best = f" (best {100 * progress.best_f1:.1f})" if progress.best_f1 is not None else ""
    minutes, seconds = divmod(round(progress.seconds_left), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"
    return (
        f"step {progress.step:,} of {progress.steps:,}, loss {progress.loss:.3f}, rate {progress.rate:.1e}"
        f"{f1}{best}, {left} left"
    )
