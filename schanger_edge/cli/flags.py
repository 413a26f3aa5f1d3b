"""The flags of a command from the options it takes: one for each field, with its type, default, range and help."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from schanger_edge.cli.talk import Talk
from schanger_edge.options import Option, OptionGroups, Options

_Function = TypeVar("_Function", bound=Callable[..., Any])
CONTEXT = "typer_context"
_ANNOTATED: dict[type, Any] = {int: int, float: float, str: str, bool: bool, Path: Path}


def flags(function: _Function, *, leave_out: tuple[str, ...] = ()) -> _Function:
    """A command whose parameters of an `Options` or `OptionGroups` type stand for a flag of each of their fields.

    Every command has the flags of `Talk`, too.

    Args:
        function: the command; such a parameter is annotated with the class and gets an instance of it. Annotated with
            `Annotated[dict[str, Any], CLASS]` it gets what was given alone, by name: a preset stands behind it. Other
            parameters are annotated as typer has it, or with their help alone, see `_of_help`.
        leave_out: names of fields that the command has no flag for; they keep their defaults.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = [inspect.Parameter(CONTEXT, inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    described: dict[str, tuple[Any, list[Option]]] = {}
    for parameter in inspect.signature(function).parameters.values():
        kind = _class_of(hints[parameter.name])
        if kind is None:
            parameters.append(parameter.replace(annotation=_of_help(parameter, hints[parameter.name])))
            continue
        own = [one for one in kind.described() if one.name not in leave_out]
        described[parameter.name] = hints[parameter.name], own
        parameters += map(_parameter, own)
    parameters += map(_parameter, Talk.described())

    def command(**values: Any) -> Any:
        context = values.pop(CONTEXT)
        talk = {one.name: _value(one, values.pop(one.name)) for one in Talk.described()}
        talk = {name: value for name, value in talk.items() if _is_given(context, name)}
        if talk or context.parent is None:
            dataclasses.replace(Talk() if context.parent is None else Talk.now, **talk).begin()
        for name, (hint, options) in described.items():
            taken = {one.name: _value(one, values.pop(one.name)) for one in options}
            if isinstance(hint, type):
                values[name] = getattr(hint, "of", hint)(**taken)
            else:
                values[name] = {key: value for key, value in taken.items() if _is_given(context, key)}
        return function(**values)

    # Typer reads the signature and the annotations, and the documentation for the help.
    command.__name__, command.__doc__, command.__module__ = function.__name__, function.__doc__, function.__module__
    required_first = sorted(parameters, key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in required_first]
    command.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in named}
    return command  # type: ignore[return-value]


def _class_of(hint: Any) -> Any:
    """The `Options` or `OptionGroups` that an annotation names, or None."""
    kinds = (hint, *getattr(hint, "__metadata__", ()))
    return next((one for one in kinds if isinstance(one, type) and issubclass(one, (Options, OptionGroups))), None)


def _of_help(parameter: inspect.Parameter, hint: Any) -> Any:
    """What typer takes for `Annotated[TYPE, "Help."]`: an argument where there is no default, else a flag.

    `output` is always a flag, also called -o; a switch has no flag that denies it.
    """
    help, flag = getattr(hint, "__metadata__", (None,))[0], f"--{parameter.name.replace('_', '-')}"
    if not isinstance(help, str):
        return hint
    if parameter.name == "output":
        return Annotated[hint.__origin__, typer.Option("-o", flag, help=help)]
    is_argument = parameter.default is inspect.Parameter.empty
    return Annotated[hint.__origin__, typer.Argument(help=help) if is_argument else typer.Option(flag, help=help)]


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and not source.name.startswith("DEFAULT")


def _parameter(one: Option) -> inspect.Parameter:
    """The flag of an option as a parameter of a command."""
    settings: dict[str, Any] = {"help": one.help, "rich_help_panel": one.title}
    flag = one.flag
    if one.default is None and one.unset:
        settings["show_default"] = one.unset
    elif one.default is True:  # such as --no-augmentation: a flag that takes away alone
        flag, settings["show_default"] = f" /{one.flag}", False
    if one.unit:
        settings["metavar"] = one.unit.upper().replace(" ", "_")
    kind: Any = _ANNOTATED[str if one.parse else one.kind]
    default = one.default
    if one.parse and isinstance(default, tuple):  # as a user writes it
        default = ",".join(str(item) for item in default)
    if one.choices:
        kind = _enum(one)
        default = None if one.many or default is None else kind(default)
    annotation: Any = list[kind] | None if one.many else kind if kind is bool else kind | None
    return inspect.Parameter(
        one.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None if one.many else default,
        annotation=Annotated[annotation, typer.Option(flag, *filter(None, [one.short]), **settings)],
    )


def _value(one: Option, value: Any) -> Any:
    """What the command line gave, as the field takes it."""
    if one.many:
        return tuple(_plain(item) for item in value) if value else one.default
    value = _plain(value)
    return one.parse(value) if one.parse is not None and isinstance(value, str) else value


def _enum(one: Option) -> Any:
    """Choices as every version of typer takes them."""
    return Enum(one.name, {choice: choice for choice in one.choices}, type=str)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
