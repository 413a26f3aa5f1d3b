"""Options are described once; checks, flags of three commands, summaries and tables follow from that."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from schanger_edge.cli.app import load
from schanger_edge.cli.flags import flags
from schanger_edge.errors import SchangerError
from schanger_edge.options import OptionGroups, Options, Range, option
from schanger_edge.run.control import Control, understood
from schanger_edge.run.options import RunOptions


@dataclasses.dataclass(frozen=True)
class Cutting(Options):
    """A toy."""

    title = "Cutting"

    side: int = option(4, "Side.", unit="pixels", at_least=1, at_most=9, decides="value")
    share: float | None = option(None, "Share.", above=0, below=1, unset="all of it")
    limit: float = option(math.inf, "Limit.", above=0, finite=False)
    rule: Literal["odd", "even"] = option("odd", "Rule.", choices=("odd", "even"))
    files: tuple[str, ...] = option((), "Files.", flag="--file", is_path=True)
    pair: tuple[int, ...] | None = option(None, "Pair.", parse=lambda text: tuple(map(int, text.split(","))))
    quick: bool = option(False, "Quick.")


@dataclasses.dataclass(frozen=True)
class Toy(OptionGroups):
    """One group."""

    cutting: Cutting = Cutting()


def command(name: str) -> Any:
    return load(name)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"side": 0}, "--side must be at least 1 and at most 9 pixels, not 0."),
        ({"share": 1.0}, "--share must be greater than 0 and less than 1, not 1.0."),
        ({"share": math.nan}, "--share must be greater than 0 and less than 1, not nan."),
        ({"limit": -1.0}, "--limit must be greater than 0, or inf, not -1.0."),
        ({"rule": "prime"}, "--rule must be odd or even, not 'prime'."),
    ],
)
def test_a_value_out_of_range_is_one_sentence(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SchangerError) as error:
        Toy.of(**values)
    assert str(error.value) == sentence


def test_values_that_are_taken() -> None:
    toy = Toy.of(side=9, share=None, limit=math.inf, files=Path("a b.tif"), pair=[1, 2])
    assert toy.cutting == Cutting(side=9, files=("a b.tif",), pair=(1, 2))
    assert toy.values()["files"] == ("a b.tif",)
    assert toy.deciding() == {"side": 9}
    assert toy.replace(quick=True).cutting.quick
    assert not toy.cutting.quick


def test_a_name_that_is_none() -> None:
    with pytest.raises(TypeError, match="there is no option 'sides'"):
        Toy.of(sides=3)


def test_a_table_s_cells() -> None:
    cells = {one.name: one for one in Toy.described()}
    assert cells["side"].read("3") == 3
    assert cells["quick"].read("Yes") is True
    assert cells["files"].read("a.tif | b c.tif") == ("a.tif", "b c.tif")
    assert cells["pair"].read("5,6") == (5, 6)
    for name, text in (("side", "three"), ("quick", "perhaps")):
        with pytest.raises(SchangerError, match=f"--{name} must be"):
            cells[name].read(text)


def test_flags_give_what_keywords_give() -> None:
    seen: list[Toy] = []

    def cut(name: str, options: Toy) -> None:
        seen.append(options)

    toy_app = typer.Typer()
    toy_app.command()(flags(cut))
    arguments = ["x", "--side", "3", "--share", "0.5", "--rule", "even", "--file", "a", "--file", "b"]
    arguments += ["--pair", "7,8", "--quick"]
    assert CliRunner().invoke(toy_app, arguments).exit_code == 0
    assert CliRunner().invoke(toy_app, ["x"]).exit_code == 0
    assert seen == [Toy.of(side=3, share=0.5, rule="even", files=["a", "b"], pair=(7, 8), quick=True), Toy()]


def test_run_watch_and_batch_take_every_option_with_the_same_default() -> None:
    wanted = {one.flag: one for one in RunOptions.described()}
    for name in ("run", "watch", "batch"):
        found = {flag: parameter for parameter in command(name).params for flag in parameter.opts}
        assert wanted.keys() <= found.keys(), name
        for flag, one in wanted.items():
            default = getattr(found[flag].default, "value", found[flag].default)
            assert default == (None if one.many else one.default), (name, flag)


def test_no_two_groups_share_a_name() -> None:
    names = [one.name for one in RunOptions.described()]
    assert len(set(names)) == len(names)
    groups = RunOptions.groups().values()
    assert all(len(list(group.described())) <= 6 for group in groups), "a handful of fields each"


def test_every_option_says_what_it_is() -> None:
    for one in RunOptions.described():
        assert one.help.endswith("."), one.name
        assert one.default is not None or one.unset, f"{one.name}: what None stands for"


def test_options_as_json_keep_keys_to_themselves() -> None:
    options = RunOptions.of(
        clip="https://user:secret@host/area.gpkg?token=key", nodata=math.nan, max_offset=math.inf, bands=(3, 2, 1)
    )
    plain = json.loads(json.dumps(options.as_json(), allow_nan=False))
    assert plain["clip"] == "https://host/area.gpkg"
    assert (plain["nodata"], plain["max_offset"], plain["bands"]) == ("nan", "inf", [3, 2, 1])
    assert plain.keys() == options.values().keys()


def test_keywords_are_laid_over_options_and_control() -> None:
    options, control = understood(RunOptions.of(threshold=0.3), Control(restart=True), {"gsd": 2.0, "resume": True})
    assert (options.change.threshold, options.reading.gsd) == (0.3, 2.0)
    assert (control.resume, control.restart) == (True, True)


def test_limits() -> None:
    assert 3 in Range(at_least=3)
    assert 3 not in Range(above=3)
    assert math.inf not in Range(above=3)
    assert math.inf in Range(above=3, finite=False)
    assert Range().words("") == "a finite number"
