"""Writes docs/reference.md from the descriptions of the options; a test holds the page to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from schanger_edge.options import Option, OptionGroups
from schanger_edge.run.options import RunOptions

PAGE = Path(__file__).parent / "reference.md"
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
    yield "## A run"
    yield ""
    yield "`schanger-edge run`, `watch` and `batch` take all of these flags; `detect` in Python takes all of these"
    yield "keywords, or `RunOptions.of(...)`. In the table that `batch` reads, every option but those of the engine may"
    yield "be a column, named like its flag with `_` for `-`. *Resume*: whether a resumed run must be given the same."
    yield from _tables(RunOptions)


def _tables(groups: type[OptionGroups]) -> Iterator[str]:
    for group in groups.groups().values():
        yield ""
        yield f"### {group.__name__}: {(group.__doc__ or '').strip().splitlines()[0].rstrip('.')}"
        yield ""
        yield "| flag | keyword | values | default | what it does | resume |"
        yield "|---|---|---|---|---|---|"
        for one in group.described():
            cells = (f"`{one.flag}`", f"`{one.name}`", _values(one), _default(one), one.help, _RESUME[one.decides])
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
        return "on" if one.default else "off"
    return "none" if one.default == () else f"{one.default:g}" if isinstance(one.default, float) else str(one.default)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
