"""Writes docs/reference.md from the descriptions of the options; a test holds the page to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

from schanger_edge.cli.talk import INTERRUPTED, Talk
from schanger_edge.datasets.options import MakeOptions
from schanger_edge.evaluation.options import ComparisonOptions, EvaluationOptions
from schanger_edge.options import Option, OptionGroups, Options
from schanger_edge.run.options import RunOptions
from schanger_edge.run.review import ReviewOptions
from schanger_export.options import CalibrationOptions, ExportOptions, Machine, Pretraining, Training

PAGE = Path(__file__).parent / "reference.md"
_EVERY = f"""\
Results go to standard output, all else to standard error. With `--json` a command prints its result as one JSON object
and nothing else to standard output. With `--progress json` each line of standard error that begins with `{{` is an
object such as

```json
{{"stage": "predict", "done": 1200000, "total": 4000000, "unit": "pixels", "rate": 310000.0, "eta": 9.03}}
```

`rate` is in units per second and `eta` in seconds; they and `total` are null where nobody knows yet. A stage is told at
its beginning, at its end, and a few times a second between them; a stage may begin anew. Those of `run` are `open`
(both images, the model, statistics and offset, in steps), `predict` (pixels) and `finish` (maps, polygons, preview and
report, in steps), and `fetch` or `build` where a model has to be fetched or an engine built. `watch` adds the name of
the `pair`, `train` its `loss`, `learning_rate`, `f1` and `best_f1`. A program should leave out keys that it doesn't
know.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | `batch`: some pairs failed, the others are done. Else a fault of the program, with a traceback |
| 2 | wrong input, or the work could not be done: one sentence says why and what to do |
| {INTERRUPTED} | interrupted by Ctrl-C |
| {128 + signal.SIGTERM} | ended by SIGTERM; a `watch` ends with 0 |

`schanger-edge --install-completion` completes commands and flags in your shell."""
_RESUME = {
    "": "no",
    "value": "yes, its value",
    "facts": "yes, what follows from it",
}


def page() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Options"
    yield ""
    yield "Written by `make reference` from the descriptions in the code; do not edit it by hand."
    yield ""
    yield "## Every command"
    yield from _table(Talk)
    yield ""
    yield from _EVERY.splitlines()
    yield ""
    yield "## A run"
    yield ""
    yield "`schanger-edge run`, `watch` and `batch` take all of these flags; `detect` in Python takes all of these"
    yield "keywords, or `RunOptions.of(...)`. In the table that `batch` reads, every option but those of the engine may"
    yield "be a column, named like its flag with `_` for `-`. *Resume*: whether a resumed run must be given the same."
    yield from _tables(RunOptions, resume=True)
    yield ""
    yield "## A training"
    yield ""
    yield "`schanger-edge train` and `pretrain`; in Python `Training.with_presets(...)` and"
    yield "`Pretraining.with_presets(...)`. Data are written as [sources](sources.md). `pretrain` has other defaults:"
    usual = {one.name: one for one in Training.described()}
    other = (one for one in Pretraining.described() if one.default != usual[one.name].default)
    yield f"{', '.join(f'`{one.flag}` {_default(one)}' for one in other)}."
    yield from _tables(Training)
    yield from _table(Machine)
    for command, described in _COMMANDS.items():
        yield ""
        yield f"## {command}"
        yield from _tables(described) if issubclass(described, OptionGroups) else _table(described)


_COMMANDS: dict[str, type[Options | OptionGroups]] = {
    "`review`": ReviewOptions,
    "`dataset make`": MakeOptions,
    "`evaluate`": EvaluationOptions,
    "`compare`": ComparisonOptions,
    "`calibrate`": CalibrationOptions,
    "`export`": ExportOptions,
}


def _tables(groups: type[OptionGroups], *, resume: bool = False) -> Iterator[str]:
    for group in groups.groups().values():
        yield from _table(group, resume=resume)


def _table(group: type[Options], *, resume: bool = False) -> Iterator[str]:
    yield ""
    yield f"### {group.__name__}: {(group.__doc__ or '').strip().splitlines()[0].rstrip('.')}"
    yield ""
    yield f"| flag | keyword | values | default | what it does |{' resume |' if resume else ''}"
    yield f"|---|---|---|---|---|{'---|' if resume else ''}"
    for one in group.described():
        cells = [
            ", ".join(f"`{flag}`" for flag in (one.short, one.flag) if flag),
            f"`{one.name}`",
            _values(one),
            _default(one),
            one.help,
        ]
        cells += [_RESUME[one.decides]] if resume else []
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(one: Option) -> str:
    if one.parse is not None:
        found = "text"
    elif one.choices:
        found = ", ".join(f"`{choice}`" for choice in one.choices)
    elif one.range is not None:
        found = one.range.words(one.unit)
    else:
        found = {bool: "a switch", int: "a whole number", float: "a number"}.get(one.kind, "text")
    return f"{found}; repeatable" if one.many else found


def _default(one: Option) -> str:
    if one.default is None:
        return one.unset
    if one.kind is bool:
        return "on, the flag turns it off" if one.default else "off"
    return "none" if one.default == () else f"{one.default:g}" if isinstance(one.default, float) else str(one.default)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
