"""DESIGN.md's table of rooms agrees with import-linter's layers, the folders and the imports."""

from __future__ import annotations

import ast
import fnmatch
import functools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from helpers import ROOT

from schanger_edge._version import __version__

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

PACKAGE = ROOT / "schanger_edge"
FACTORY = "export/schanger_export"
NATIVE = "native"
PLUGIN = "qgis"
PROVING_GROUND = ("benchmarks", "tests", "jetson")


class Room(NamedTuple):
    """A row of the table: modules of the package or folders outside it, and the names of the rooms it may import."""

    where: tuple[str, ...]
    may_import: tuple[str, ...]


@functools.cache
def rooms() -> dict[str, Room]:
    """The table, by name of the room; "all above" is spelled out."""
    section = (ROOT / "DESIGN.md").read_text(encoding="utf-8").partition("## Rooms")[2].partition("\n## ")[0]
    found: dict[str, Room] = {}
    for line in [line for line in section.splitlines() if line.startswith("| ")][1:]:
        name, where, _, allowed = (cell.strip() for cell in line.strip("|").split("|"))
        folders = tuple(part.rstrip("/").removesuffix(".py") for part in re.findall(r"`(.*?)`", where))
        if allowed in ("nothing", "all above"):
            found[name] = Room(folders, () if allowed == "nothing" else tuple(found))
        else:
            found[name] = Room(folders, tuple(allowed.split(", ")))
    return found


@functools.cache
def contracts() -> list[dict[str, Any]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def depths() -> dict[str, int]:
    """Each module of import-linter's layers with the number of its layer, from the top."""
    (contract,) = (contract for contract in contracts() if contract["type"] == "layers")
    return {module: depth for depth, layer in enumerate(contract["layers"]) for module in layer.split(" | ")}


def room_of(module: str) -> str:
    return next(name for name, room in rooms().items() if module in room.where)


def imports() -> Iterator[tuple[str, str]]:
    """(importer, imported) as dotted names, of all modules of both packages."""
    for package in (PACKAGE, ROOT / FACTORY):
        for path in package.rglob("*.py"):
            importer = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    yield from ((importer, f"{node.module}.{name.name}") for name in node.names)
                elif isinstance(node, ast.Import):
                    yield from ((importer, name.name) for name in node.names)


def is_excused(importer: str, imported: str) -> bool:
    """True where a contract ignores this import."""
    ignored = (arrow.split(" -> ") for contract in contracts() for arrow in contract.get("ignore_imports", ()))
    return any(
        fnmatch.fnmatch(importer, left) and fnmatch.fnmatch(imported, f"{right.rstrip('.*')}.*")
        for left, right in ignored
    )


def test_every_layer_is_in_a_room_and_every_module_exists() -> None:
    named = sorted(part for room in rooms().values() for part in room.where)
    there = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    there += [path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"]
    assert named == sorted([*there, FACTORY, NATIVE, PLUGIN, *PROVING_GROUND])
    assert sorted(there) == sorted(depths())
    assert all((ROOT / folder).is_dir() for folder in (FACTORY, NATIVE, PLUGIN, *PROVING_GROUND))


def test_what_a_room_may_import_lies_in_lower_layers() -> None:
    table = rooms()
    inside = {name: room for name, room in table.items() if set(room.where) <= set(depths())}
    assert all(set(room.may_import) <= set(table) for room in table.values())
    for name, room in inside.items():
        assert set(room.may_import) <= set(inside), name
        for other in room.may_import:
            assert max(depths()[part] for part in room.where) < min(depths()[part] for part in inside[other].where)


def test_the_factory_may_import_no_room_that_its_contract_forbids() -> None:
    allowed = {part for name in rooms()["factory"].may_import for part in rooms()[name].where}
    about_factory = [contract for contract in contracts() if contract.get("source_modules") == ["schanger_export"]]
    forbidden = {module for contract in about_factory for module in contract["forbidden_modules"]}
    assert forbidden
    assert not forbidden & {f"schanger_edge.{part}" for part in allowed}


def test_rooms_import_what_the_table_says_and_nothing_else() -> None:
    seen = set()
    for importer, imported in imports():
        if not imported.startswith("schanger_edge.") or importer == "schanger_edge" or is_excused(importer, imported):
            continue
        me = "factory" if importer.startswith("schanger_export") else room_of(importer.split(".")[1])
        other = room_of(imported.split(".")[1])
        assert other == me or other in rooms()[me].may_import, f"{importer} imports {imported}"
        seen.add((me, other))
    assert len(seen) > len(rooms())  # imports were found at all


def test_records_are_numbered_indexed_and_linked() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(path.name for path in folder.glob("*.md") if path.name != "README.md")
    assert re.findall(r"\]\((\d{3}-[a-z0-9-]+\.md)\)", index) == records
    assert [int(name[:3]) for name in records] == list(range(1, len(records) + 1))
    for name in records:
        text = (folder / name).read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix("# ")
        assert f"[{title}]({name})" in index
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (folder / link).exists(), link


@pytest.mark.parametrize("page", ["CITATION.cff", "CHANGELOG.md"])
def test_the_version_is_the_same_everywhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(r"^(?:version: |## \[?)(\d[\w.]*)", text, re.MULTILINE)
    assert found is not None
    assert found[1] == __version__
