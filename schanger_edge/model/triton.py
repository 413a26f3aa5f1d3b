"""A model file as one more version of a model in the repository that a Triton Inference Server serves from."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from schanger_edge.errors import ModelError
from schanger_edge.files import replacing
from schanger_edge.model.card import ModelCard
from schanger_edge.model.file import read_model
from schanger_edge.model.plan import Batches

CONFIG, MODEL = "config.pbtxt", "model.onnx"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"[1-9][0-9]*")  # Triton passes over folders with other names


@dataclasses.dataclass(frozen=True)
class Served:
    """What lies in the repository now.

    Attributes:
        folder: the model's folder, REPO/NAME.
        version: the number of the new version.
        model: the new file, REPO/NAME/VERSION/model.onnx.
        kept_config: config.pbtxt is not of our making, or was edited, and stays as it is.
    """

    folder: Path
    version: int
    model: Path
    kept_config: bool


def add_to_repository(model: Path, repository: Path, name: str | None = None) -> Served:
    """Copy a model file into a Triton model repository as the next version, and say in config.pbtxt what it takes.

    Versions that are there are never touched. config.pbtxt belongs to all versions of a model and tells of the newest;
    one that was edited stays.

    Args:
        model: an .onnx file that keeps the contract of `model.card`.
        repository: folder of models; made if absent.
        name: the model's name in Triton; None takes the card's.

    Raises:
        ModelError: the model cannot be read, its name cannot be a folder's, another kind of model has that name, or
            the repository cannot be written.
    """
    card = read_model(model).card
    name = name or card.name
    if not _NAME.fullmatch(name):
        raise ModelError(
            f"{name!r} is not a valid model name for Triton: use --name with letters, digits, '_', '-' and '.'."
        )
    folder = repository / name
    with _writing(folder):
        if not folder.exists():
            repository.mkdir(parents=True, exist_ok=True)
            with _appearing(folder) as staged:
                (staged / CONFIG).write_bytes(config(name, card).encode())
                (staged / "1").mkdir()
                shutil.copyfile(model, staged / "1" / MODEL)
            return Served(folder, 1, folder / "1" / MODEL, kept_config=False)
        newest = _newest(folder)
        ours = _is_ours(folder, name, newest, card)
        version = folder / str(newest + 1)
        with _appearing(version) as staged:
            shutil.copyfile(model, staged / MODEL)
        if ours:
            with replacing(folder / CONFIG, ModelError) as temporary:
                temporary.write_bytes(config(name, card).encode())
    return Served(folder, newest + 1, version / MODEL, kept_config=not ours)


def config(name: str, card: ModelCard) -> str:
    """config.pbtxt, the text form of Triton's ModelConfig. The batch, N, is not among the dims."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("schanger_edge.model", "templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    template = environment.get_template(f"{CONFIG}.j2")
    quoted = json.dumps(card.to_json())  # of one line of ASCII, JSON makes what protobuf's text form does
    batches = Batches.for_tile(card.tile)
    sizes = sorted(set(dataclasses.astuple(batches)))
    return template.render(name=name, tile=card.tile, card=quoted, batches=batches, sizes=sizes)


def _newest(folder: Path) -> int:
    """The greatest version in a model's folder; 0 where there is none."""
    return max((int(path.name) for path in folder.iterdir() if _VERSION.fullmatch(path.name)), default=0)


def _is_ours(folder: Path, name: str, newest: int, card: ModelCard) -> bool:
    """Whether config.pbtxt is what was written for the newest version, so that it may be written anew.

    Raises:
        ModelError: that version is no model of this kind, or takes tiles of another size.
    """
    path = folder / CONFIG
    if newest == 0:
        return not path.exists()
    try:
        present = read_model(folder / str(newest) / MODEL).card
    except ModelError as error:
        raise ModelError(f"{folder} holds another kind of model ({error}) Use another --name.") from error
    if present.tile != card.tile:
        raise ModelError(
            f"{folder} takes tiles of {present.tile} pixels, and so must all its versions: this model takes "
            f"{card.tile}, so use another --name."
        )
    return not path.exists() or path.read_bytes() == config(name, present).encode()


@contextlib.contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder with a temporary name, which becomes `folder` if the block succeeds and vanishes if it fails."""
    staged = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        staged.mkdir()
        yield staged
        staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(
            f"{folder} cannot be written ({reason}): choose a writable repository with free space."
        ) from error
