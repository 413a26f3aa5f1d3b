"""Models by name: those that come with the package, those that are fetched once, and files."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from schanger_edge.errors import ModelError
from schanger_edge.model.fetching import fetched
from schanger_edge.model.published import DATASETS, MODELS
from schanger_edge.progress import Progress

FOLDER = Path(__file__).parent
DEFAULT = "schanger-small"


def names() -> list[str]:
    """Names of the bundled models."""
    return sorted(path.stem for path in FOLDER.glob("*.onnx"))


def model_path(model: str | PathLike[str] | None, progress: Progress | None = None) -> Path:
    """The file of a model: a path as given, else that of a bundled or published name; None is the default model.

    Args:
        model: an .onnx file, `schanger-small`, or `levir-cd:base`.
        progress: hears of the stages where a published model is fetched, see `fetching.fetched`.

    Raises:
        ModelError: there is no such file and no such name.
        SchangerError: a published model can't be fetched.
    """
    path = Path(DEFAULT if model is None else model)
    if path.exists():
        return path
    if path.name in names() and path.parent == Path("."):
        return FOLDER / f"{path.name}.onnx"
    name = str(path).lower()
    if name in MODELS:
        return fetched(name, progress)
    if name in DATASETS:
        raise ModelError(f"model {name} comes in two sizes: use {name}:small or {name}:base.")
    raise ModelError(
        f"model {path} does not exist: use an .onnx file, one of {', '.join(names()) or 'none'}, or a published one, "
        f"such as {next(iter(MODELS))}; `schanger-edge models` lists them."
    )
