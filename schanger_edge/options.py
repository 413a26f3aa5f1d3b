"""How an option is described: once, as a field of a frozen dataclass. Checks, flags, summaries and documents follow.

    @dataclass(frozen=True)
    class Change(Options):
        title = "What counts as change"
        threshold: float | None = option(None, "Change where probability is greater.", at_least=0, below=1)

An `Options` class holds a handful of fields of one kind; an `OptionGroups` class composes several of them, and takes
and gives all of their fields as plain keywords too.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypedDict, TypeVar

from schanger_edge.errors import SchangerError

if TYPE_CHECKING:
    from typing_extensions import Unpack

Decides = Literal["", "value", "facts"]
"""Whether an option decides about the bytes of the maps: not at all, by its value, or by facts that are recorded with
the inputs or the engine (`--bands` by the bands that are read)."""

_YES, _NO = ("yes", "true", "1"), ("no", "false", "0")
_Groups = TypeVar("_Groups", bound="OptionGroups")


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers an option takes; infinity only where `finite` is False, NaN never."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    finite: bool = True

    def __contains__(self, value: float) -> bool:
        return (
            not math.isnan(value)
            and not (self.finite and math.isinf(value))
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def words(self, unit: str) -> str:
        """Such as `at least 0 and less than 1`, or `a finite number of metres`."""
        limits = (
            ("at least", self.at_least),
            ("greater than", self.above),
            ("at most", self.at_most),
            ("less than", self.below),
        )
        told = " and ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)
        return f"{told or 'a finite number'}{f' {unit}' if unit else ''}{'' if self.finite else ', or inf'}"


@dataclasses.dataclass(frozen=True)
class Option:
    """What a field says of itself.

    Attributes:
        help: one sentence for the user.
        flag: on the command line.
        short: a second flag of one letter, such as `-q`; empty where there is none.
        unset: what None stands for, in words.
        unit: of a number, in words.
        range: numbers that are taken.
        choices: texts that are taken, without them those of the field's `Literal`; empty where any is.
        parse: text of the command line to value; None where `kind` says it all. Raises SchangerError.
        check_value: raises SchangerError where a value is none that can be meant; None where the range says it all.
        is_path: whether it names files or URLs, whose keys and passwords stay out of results.
        decides: see `Decides`.
        name: of the field, as a keyword in Python.
        title: of its panel.
        default: value where none is given.
        kind: type of the field, or of the items of a tuple.
        many: whether the field is a tuple and the flag may be repeated.
    """

    help: str
    flag: str = ""
    short: str = ""
    unset: str = ""
    unit: str = ""
    range: Range | None = None
    choices: tuple[str, ...] = ()
    parse: Callable[[str], Any] | None = None
    check_value: Callable[[Any], None] | None = None
    is_path: bool = False
    decides: Decides = ""
    name: str = ""
    title: str = ""
    default: Any = None
    kind: type = str
    many: bool = False

    def plain(self, value: Any) -> Any:
        """The value as the field holds it: paths as text, sequences as tuples, a single item where many may be, too."""
        if self.many and isinstance(value, (str, os.PathLike)):
            value = (value,)
        if isinstance(value, (list, tuple)):
            return tuple(os.fspath(item) if self.is_path else item for item in value)
        return os.fspath(value) if self.is_path and value is not None else value

    def read(self, text: str) -> Any:
        """The value of a text, such as a cell of a table; several are separated by `|`.

        Raises:
            SchangerError: the text cannot be read.
        """
        if self.many:
            return tuple(part.strip() for part in text.split("|") if part.strip())
        if self.parse is not None:
            return self.parse(text)
        if self.kind is bool and text.lower() not in (*_YES, *_NO):
            raise SchangerError(f"{self.flag} must be yes or no, not {text!r}.")
        try:
            return text.lower() in _YES if self.kind is bool else self.kind(text)
        except ValueError:
            raise SchangerError(f"{self.flag} must be a number, not {text!r}.") from None

    def check(self, value: Any, error: type[SchangerError] = SchangerError) -> None:
        """Raise this error unless the value is one that the option takes."""
        if value is None and self.default is None:
            return
        if self.range is not None and value not in self.range:
            raise error(f"{self.flag} must be {self.range.words(self.unit)}, not {value}.")
        for item in value if self.many else (value,):
            if self.choices and item not in self.choices:
                raise error(f"{self.flag} must be {series(self.choices, 'or')}, not {item!r}.")
        if self.check_value is not None:
            self.check_value(value)


class Described(TypedDict, total=False):
    """What `option` takes beside default and help: attributes of `Option`, and limits as of `Range`."""

    flag: str
    short: str
    unset: str
    unit: str
    choices: tuple[str, ...]
    parse: Callable[[str], Any]
    check_value: Callable[[Any], None]
    is_path: bool
    decides: Decides
    at_least: float
    above: float
    at_most: float
    below: float
    finite: bool


def option(default: Any, help: str, **described: Unpack[Described]) -> Any:
    """A field of an `Options` class."""
    known: dict[str, Any] = dict(described)
    limits = {field.name: known.pop(field.name) for field in dataclasses.fields(Range) if field.name in known}
    made = Option(help, range=Range(**limits) if limits else None, **known)
    return dataclasses.field(default=default, metadata={"option": made})


class Options:
    """Base of option classes: frozen dataclasses whose fields are made by `option`, checked when they are made."""

    title: ClassVar[str]
    """Of the panel of their flags."""
    error: ClassVar[type[SchangerError]] = SchangerError
    """What is raised where a value is out of range."""

    def __post_init__(self) -> None:
        for described in self.described():
            value = described.plain(getattr(self, described.name))
            object.__setattr__(self, described.name, value)
            described.check(value, self.error)

    @classmethod
    def described(cls) -> Iterator[Option]:
        """Every option, in order."""
        return iter(_described(cls))  # type: ignore[arg-type]


class OptionGroups:
    """Base of frozen dataclasses whose fields are `Options`, each with a default; no two share a field's name."""

    @classmethod
    def groups(cls) -> dict[str, type[Options]]:
        """Field name to class, in order."""
        return {field.name: _types(cls)[field.name] for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def described(cls) -> Iterator[Option]:
        """Every option of every group, in order, with the defaults of this class."""
        defaults = cls().values()
        for group in cls.groups().values():
            yield from (dataclasses.replace(one, default=defaults[one.name]) for one in group.described())

    @classmethod
    def of(cls: type[_Groups], **values: Any) -> _Groups:
        """From plain keywords of any group.

        Raises:
            TypeError: there is no such option.
            SchangerError: a value is out of range.
        """
        return cls().replace(**values)

    def replace(self: _Groups, **values: Any) -> _Groups:
        """The same with other values, by plain keywords; raises as `of`."""
        changed = {}
        for name, group in self.groups().items():
            own = {field.name: values.pop(field.name) for field in dataclasses.fields(group) if field.name in values}  # type: ignore[arg-type]
            if own:
                changed[name] = dataclasses.replace(getattr(self, name), **own)
        for name in values:
            raise TypeError(f"there is no option {name!r}: {', '.join(one.name for one in self.described())}.")
        return dataclasses.replace(self, **changed)  # type: ignore[type-var]

    def values(self) -> dict[str, Any]:
        """All options by name, without their groups."""
        return {
            option.name: getattr(getattr(self, name), option.name)
            for name, group in self.groups().items()
            for option in group.described()
        }

    def deciding(self) -> dict[str, Any]:
        """Options whose values decide about the bytes of the maps."""
        values = self.values()
        return {one.name: values[one.name] for one in self.described() if one.decides == "value"}


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in values.items() if value is not None}


_types = functools.cache(typing.get_type_hints)


@functools.cache
def _described(cls: type[Options]) -> tuple[Option, ...]:
    found = []
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if (one := field.metadata.get("option")) is not None:  # else a plain field, which no user gives
            kind, many, choices = _kind_of(_types(cls)[field.name])  # type: ignore[arg-type]
            own = {"name": field.name, "flag": one.flag or f"--{field.name.replace('_', '-')}", "title": cls.title}
            own |= {"default": field.default, "kind": kind, "choices": one.choices or choices}
            found.append(dataclasses.replace(one, many=many and one.parse is None, **own))
    return tuple(found)


def _kind_of(hint: Any) -> tuple[type, bool, tuple[str, ...]]:
    """Type of a field's values, or of its items where it is a tuple of any length (True); what a `Literal` lists."""
    arguments = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) is tuple and arguments[-1] is Ellipsis:
        kind, _, choices = _kind_of(arguments[0])
        return kind, True, choices
    if typing.get_origin(hint) is Literal:
        return type(arguments[0]), False, tuple(arguments)
    if type(None) in typing.get_args(hint) and len(arguments) == 1:
        return _kind_of(arguments[0])
    return (hint if isinstance(hint, type) else str), False, ()


def series(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
