"""What a user should know before a training starts: how labels are read, and what data and options make of it."""

from __future__ import annotations

from schanger_edge.datasets.samples import LabelRule, Sample, kinds_of_labels, warning_on_labels
from schanger_export.crops import Crops
from schanger_export.options import Training
from schanger_export.processes import Processes


def remarks(options: Training, processes: Processes, crops: Crops) -> tuple[dict[str, str], list[str]]:
    """The rule by which the labels of each place are read, and lines for the user.

    Raises:
        SchangerError: a folder is missing or incomplete, which shows now and not after the first epochs.
    """
    rules, lines = dict[str, str](), list[str]()
    for source in (*options.sources(), *options.validation()):
        files = source.files(options.dates)
        rule = LabelRule.for_files(files, source.label or "auto")
        name = f"{source.root} {source.split}" if options.dates == 2 else str(source.root)
        if name in rules:
            continue
        rules[name] = str(rule)
        lines.append(f"labels of {name}: {rule}")
        warning = warning_on_labels(name, files, rule, kinds_of_labels(files, rule), "label= in the source")
        lines += [f"warning: {warning}"] if warning else []
        with Sample(files[0], rule) as sample:
            width, height = sample.width, sample.height
        if min(width, height) < options.sampling.tile and source in options.sources():
            lines.append(
                f"images of {name} ({width} x {height}) are smaller than --tile {options.sampling.tile}: the rest of "
                "a crop is their mirror image, as in validation and run; a smaller --tile trains faster."
            )
    lines += [f"warning: {doubt}" for doubt in crops.doubts()]
    return rules, [*lines, *_batchnorm(options, processes)]


def _batchnorm(options: Training, processes: Processes) -> list[str]:
    """On CUDA BatchNorm sees the micro-batches of all processes as one, see `train`."""
    parts = options.schedule.accumulate * (1 if processes.device.type == "cuda" else processes.world)
    if parts == 1 or options.network.freeze_batchnorm:
        return []
    batch_size = options.schedule.batch_size
    return [
        f"BatchNorm sees {batch_size // parts} samples at a time, not the {batch_size} of --batch: results differ from "
        "those of whole batches."
    ]
