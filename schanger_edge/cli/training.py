"""From labelled data to a model file: `schanger-edge dataset make`, `statistics`, `pretrain`, `train` and `export`."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schanger_edge.cli.flags import flags
from schanger_edge.cli.renamed import Command
from schanger_edge.cli.talk import note, out, progress_bars, warn
from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.options import MakeOptions
from schanger_edge.datasets.sources import SINGLE_DATES, TRAINING, parse_source, usage
from schanger_edge.errors import SchangerError, extra
from schanger_edge.model.bundled import model_path
from schanger_export.options import ExportOptions, Machine, Pretraining, Training

if TYPE_CHECKING:
    from schanger_export.train import Trained

Output = Annotated[Path, "Folder for the run's checkpoints, history and curves."]
Resume = Annotated[bool, "Continue from the last checkpoint in the folder."]
dataset = typer.Typer(no_args_is_help=True)


@dataset.callback()
def _dataset() -> None:
    """Make labelled datasets."""


@dataset.command(cls=Command)
@flags
def make(
    pairs: Annotated[Path, "CSV table: before, after, label; optional layer, area, split, name."],
    output: Annotated[Path, "Folder to create; it must not exist yet."],
    options: MakeOptions,
) -> None:
    """Cut labelled pairs into training tiles; no ground is shared between splits."""
    from schanger_edge.datasets.make import make_dataset

    with progress_bars() as bars:
        made = make_dataset(pairs, output, options, progress=functools.partial(bars, "tiles"))
    warn(*made.warnings)
    out.print(f"{'split':<6}{'tiles':>8}{'change':>10}")
    for name, counts in made.splits.items():
        out.print(f"{name:<6}{counts.tiles:>8}{counts.change:>10.2%}")
    dropped = ", ".join(f"{count} {reason}" for reason, count in made.dropped.items() if count)
    out.print(f"dropped: {dropped or 'no tiles'}")
    out.print(f"{made.gsd:.3g} m per pixel, split by squares of {made.block:g} m; results: {made.root}")


@flags
def statistics(
    root: Annotated[Path, "Dataset folder; with --single, a folder of images (and masks)."],
    split: Annotated[str, "Split to use."] = "train",
    single: Annotated[bool, "Single-date images with masks."] = False,
    masks: Annotated[Path | None, "With --single: folder of the masks, if ROOT holds only images."] = None,
    output: Annotated[Path | None, "JSON file to write."] = None,
) -> None:
    """Compute a dataset's colour statistics, for --normalization of train and export."""
    from schanger_edge.datasets.statistics import color_statistics

    with progress_bars() as bars:
        progress = functools.partial(bars, "images")
        result = color_statistics(root, split=split, single=single, masks=masks, output=output, progress=progress)
    if output is None:
        out.print_json(json.dumps(dataclasses.asdict(result)))
    else:
        before, after = (f"{_numbers(date.mean)} +- {_numbers(date.std)}" for date in (result.before, result.after))
        out.print(f"{output}: before {before}, after {after}")


@functools.partial(flags, leave_out=("sources",))
def train(
    output: Output,
    given: Annotated[dict[str, Any], Training],
    machine: Machine,
    sources: Annotated[
        list[str] | None, typer.Argument(help=f"Training data: {usage(TRAINING)}; see docs/sources.md.")
    ] = None,
    from_scratch: Annotated[bool, "Start from random weights."] = False,
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
    masks: Annotated[Path | None, "Folder of the masks, if the given folder holds only images."] = None,
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


@flags
def export(
    options: ExportOptions,
    output: Annotated[Path | None, "The .onnx file to write."] = None,
    triton: Annotated[
        Path | None,
        typer.Option(metavar="REPO", help="Triton model repository to add the model to, as its next version."),
    ] = None,
    weights: Annotated[
        str | None,
        "Weights by name: levir-cd:base, whu-cd:small, ..., schanger-small; downloaded once.",
    ] = None,
    checkpoint: Annotated[Path | None, "Or a .pth file with a state_dict."] = None,
    model: Annotated[str | None, "With --triton: an existing .onnx file, or a name that `models` lists."] = None,
) -> None:
    """Turn weights into a model file (needs the models extra), or add one to a Triton repository."""
    if [weights, checkpoint, model].count(None) != 2:
        raise SchangerError("give exactly one of --weights NAME, --checkpoint FILE or, with --triton, --model FILE.")
    if model is not None:
        _serve_only(model, triton, output, options)
    elif output is None and triton is None:
        raise SchangerError("say where to write the model: -o FILE, --triton REPO, or both.")
    else:
        with tempfile.TemporaryDirectory() as folder:
            target = output or Path(folder) / "model.onnx"
            _export(weights or checkpoint, target, options, shown=output)
            if triton is not None:
                _serve(target, triton, options.name)


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


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


def _export(weights: str | Path | None, target: Path, options: ExportOptions, *, shown: Path | None) -> None:
    with extra("models"):
        from schanger_export.weights import Weights, find

        found = Weights(weights) if isinstance(weights, Path) else find(str(weights), options.size)
        from schanger_export.to_onnx import export as export_tool

    size = options.size or found.card.get("size")
    report = export_tool(found.path, size, target, options, known=found.card)
    facts = f"{report.bytes / 1e6:.1f} MB, opset {report.opset}, sha256 {report.sha256[:16]}"
    out.print(f"{shown}: {facts}" if shown else facts)
    out.print(f"largest difference from double precision: {report.largest_difference:.1e} over {report.tiles} tiles")


def _serve_only(model: str, triton: Path | None, output: Path | None, options: ExportOptions) -> None:
    """A model file into the repository, as it is."""
    if triton is None:
        raise SchangerError("--model adds an existing model file to a Triton repository: name it with --triton REPO.")
    given = [one.flag for one in options.described() if one.name != "name" and getattr(options, one.name) is not None]
    if output is not None:
        given.insert(0, "--output")
    if given:
        raise SchangerError(f"--model is used unchanged: omit {', '.join(given)}, or export from weights.")
    _serve(model_path(model), triton, options.name)


def _serve(model: Path, repository: Path, name: str | None) -> None:
    from schanger_edge.model.triton import CONFIG, add_to_repository

    served = add_to_repository(model, repository, name)
    out.print(f"{served.model}: version {served.version} of {served.folder.name}")
    if served.kept_config:
        note(f"{served.folder / CONFIG} was edited and is kept: it still holds the model card of another version.")
