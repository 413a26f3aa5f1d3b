"""The models that come with the package, by name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from schanger_edge.errors import ModelError

FOLDER = Path(__file__).parent
DEFAULT = "schanger-small"


def names() -> list[str]:
    """Names of the bundled models."""
    return sorted(path.stem for path in FOLDER.glob("*.onnx"))


def model_path(model: str | PathLike[str] | None) -> Path:
    """The file of a bundled model's name, or the path as given; None is the default model.

    Raises:
        ModelError: neither a bundled name nor a file.
    """
    path = Path(DEFAULT if model is None else model)
    if path.exists():
        return path
    if path.name in names() and path.parent == Path("."):
        return FOLDER / f"{path.name}.onnx"
    raise ModelError(f"model {path} does not exist: use an .onnx file or one of {', '.join(names()) or 'none'}.")
