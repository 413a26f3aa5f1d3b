"""`schanger-edge pretrain` and `schanger-edge train` (they need the export extra)."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.talk import note, out, progress_bars, warn
from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.sources import SINGLE_DATES, TRAINING, parse_source, usage
from schanger_edge.errors import SchangerError, extra
from schanger_export.options import Machine, Pretraining, Training

if TYPE_CHECKING:
    from schanger_export.train import Trained

Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the run's checkpoints, history and curves.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint in the folder.")]


@functools.partial(flags, leave_out=("sources",))
def train(
    output: Output,
    given: Annotated[dict[str, Any], Training],
    machine: Machine,
    sources: Annotated[
        list[str] | None, typer.Argument(help=f"Training data: {usage(TRAINING)}; see docs/sources.md.")
    ] = None,
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="Start from random weights.")] = False,
    resume: Resume = False,
) -> None:
    """Train on labelled pairs: Siamese fine-tuning from single-date or earlier weights."""
    if not resume and ("init" not in given) != from_scratch:
        raise SchangerError("give either --init WEIGHTS, such as schanger-small or pretrain:base, or --from-scratch.")
    given |= {"sources": tuple(sources)} if sources else {}
    trained = _train(Training, given, output, machine, resume=resume)
    _print_trained(trained, "schanger-edge export --checkpoint {} -o model.onnx")


@functools.partial(flags, leave_out=("sources", "swap", "side_losses", "jitter"))
def pretrain(
    output: Output,
    given: Annotated[dict[str, Any], Pretraining],
    machine: Machine,
    sources: Annotated[
        list[str] | None, typer.Argument(help=f"Images with masks: {usage(SINGLE_DATES)}; see docs/sources.md.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of the masks, if the given folder holds only images.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            help="Mask values that count as positive: nonzero, >127, or classes such as 2,3.", show_default="auto"
        ),
    ] = None,
    resume: Resume = False,
) -> None:
    """Train the semantic prior on single images with masks of buildings or land cover."""
    keys = (f",masks={masks}" if masks else "") + (f",label={label.replace(',', '+')}" if label else "")
    given |= {"sources": tuple(source + keys for source in sources)} if sources else {}
    trained = _train(Pretraining, given, output, machine, resume=resume)
    _print_trained(trained, "schanger-edge train ROOT --init {} -o RUN")


def _train(kind: type[Training], given: dict[str, Any], output: Path, machine: Machine, *, resume: bool) -> Trained:
    with extra("export"):
        from schanger_export.run_folder import saved_options
        from schanger_export.train import train as train_tool

    options = None
    if given and resume:
        without = {"validation": ()} if given.get("validation") == ("none",) else {}
        options = saved_options(output).replace(**{**given, **without})
    elif not resume:
        options = kind.with_presets(**{**given, "validation": _validation(kind, given)})
    with progress_bars() as report:
        return train_tool(options, output, machine, resume=resume, report=report, tell=_tell)


def _validation(kind: type[Training], given: dict[str, Any]) -> tuple[str, ...]:
    """What was asked for; else the split val of each folder that has one."""
    asked: tuple[str, ...] = given.get("validation", ())
    if asked or kind.dates == 1:
        return () if asked == ("none",) else asked
    found = []
    for source in given.get("sources", ()):
        root = parse_source(source, kind.takes).root
        try:
            pair_files(root, "val")
        except SchangerError:
            continue
        found.append(str(root))
    if not found:
        warn("no folder has a val split: there is no validation, and the last weights will be used.")
    return tuple(dict.fromkeys(found))


def _print_trained(trained: Trained, then: str) -> None:
    if not trained.first:
        return
    best = "no validation, using the last weights"
    if trained.best_f1 is not None:
        best = f"best F1 {100 * trained.best_f1:.2f}"
    out.print(f"{trained.step:,} steps, {best}: {trained.checkpoint}")
    if trained.warning:
        warn(trained.warning)
    else:
        out.print(f"curves: {trained.folder / 'training.png'}")
    out.print(f"next: {then.format(trained.checkpoint)}")


def _tell(line: str) -> None:
    """Print a line that stays."""
    doubt = line.removeprefix("warning: ")
    (note if doubt == line else warn)(doubt)
