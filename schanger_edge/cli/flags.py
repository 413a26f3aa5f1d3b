"""The flags of a command from the options it takes: one for each field, with its type, default, range and help."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from schanger_edge.options import Option, OptionGroups, Options

_Function = TypeVar("_Function", bound=Callable[..., Any])
_ANNOTATED: dict[type, Any] = {int: int, float: float, str: str, bool: bool, Path: Path}


def flags(function: _Function, *, panel: str | None = None, leave_out: tuple[str, ...] = ()) -> _Function:
    """A command whose parameters of an `Options` or `OptionGroups` type stand for a flag of each of their fields.

    Args:
        function: the command; such a parameter is annotated with the class and gets an instance of it.
        panel: title of the panel of all these flags; None takes the title of each class.
        leave_out: names of fields that the command has no flag for; they keep their defaults.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    described: dict[str, tuple[type[Any], list[Option]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        kind = hints[parameter.name]
        if not (isinstance(kind, type) and issubclass(kind, (Options, OptionGroups))):
            parameters.append(parameter.replace(annotation=kind))
            continue
        own = [(group, one) for group in _classes(kind) for one in group.described() if one.name not in leave_out]
        described[parameter.name] = kind, [one for _, one in own]
        parameters += [_parameter(one, panel or group.title) for group, one in own]

    def command(**values: Any) -> Any:
        for name, (kind, options) in described.items():
            taken = {one.name: _value(one, values.pop(one.name)) for one in options}
            values[name] = kind.of(**taken) if issubclass(kind, OptionGroups) else kind(**taken)
        return function(**values)

    # Typer reads the signature and the annotations, and the documentation for the help.
    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    required_first = sorted(parameters, key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in required_first]
    command.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in named}
    return command  # type: ignore[return-value]


def _classes(kind: type[Any]) -> Iterator[type[Options]]:
    if issubclass(kind, OptionGroups):
        yield from kind.groups().values()
    else:
        yield kind


def _parameter(one: Option, panel: str) -> inspect.Parameter:
    """The flag of an option as a parameter of a command."""
    settings: dict[str, Any] = {"help": one.help, "rich_help_panel": panel}
    if one.default is None and one.unset:
        settings["show_default"] = one.unset
    if one.unit:
        settings["metavar"] = one.unit.upper().replace(" ", "_")
    kind: Any = _ANNOTATED[str if one.parse else one.kind]
    default = one.default
    if one.choices:
        kind = _enum(one)
        default = None if one.many or default is None else kind(default)
    annotation: Any = list[kind] | None if one.many else kind if kind is bool else kind | None
    return inspect.Parameter(
        one.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if one.many else default,
        annotation=Annotated[annotation, typer.Option(one.flag, **settings)],
    )


def _value(one: Option, value: Any) -> Any:
    """What the command line gave, as the field takes it."""
    if one.many:
        return tuple(_plain(item) for item in value or ())
    value = _plain(value)
    return one.parse(value) if one.parse is not None and isinstance(value, str) else value


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _enum(one: Option) -> Any:
    """Choices as every version of typer takes them."""
    return Enum(one.name, {choice: choice for choice in one.choices}, type=str)
