"""What can go wrong, each in one sentence that says what happened and what to do."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator


class SchangerError(Exception):
    """Base of every error that a user can mend; the command line prints it and exits with code 2."""


class SceneError(SchangerError):
    """An input image cannot be opened, read, or brought onto one grid with the other."""


class ModelError(SchangerError):
    """A model file is missing, damaged, or does not keep the contract of `model.card`."""


class SessionError(SchangerError):
    """An engine failed to load or to run a model, or returned values that are not probabilities."""


class ProductError(SchangerError):
    """A result could not be written."""


class DiskFullError(ProductError):
    """A result could not be written for want of room: it can be once there is some."""


class BusyError(ProductError):
    """Another process writes to the same place: a result can be written once it has ended."""


class OtherRunError(ProductError):
    """What an unfinished run left belongs to another run than this."""


class StoppedError(SchangerError):
    """A run ended early because it was asked to; what it has finished is kept."""


class DatasetError(SchangerError):
    """A labelled dataset is incomplete or not laid out as expected."""


class ReviewError(SchangerError):
    """A result cannot be reviewed: it is incomplete, or the decisions are damaged or those on another run."""


class CheckpointError(SchangerError):
    """A checkpoint does not hold the weights of the network that was asked for."""


def printable(text: str) -> str:
    """The text on one line: what a file's name may hold besides letters, such as a line feed, is written as `\\n`."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Around imports: raise SchangerError where a package of an extra is missing."""
    try:
        yield
    except ImportError as error:
        raise SchangerError(f"{error.name} is not installed: pip install 'schanger-edge[{name}]'.") from error


def check_name(path: object, error_class: type[SchangerError]) -> None:
    """Raise an error of the class for a file whose name is no UTF-8, which neither GDAL nor engines take."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise error_class(f"{str(path)!a} has a name that is not valid text: rename it.") from None


def require(package: str, name: str) -> None:
    """Before the work that needs it: raise SchangerError where a package of an extra is missing."""
    if importlib.util.find_spec(package) is None:
        with extra(name):
            raise ImportError(name=package)


def raised_by_gdal(error: BaseException) -> bool:
    """True for what rasterio and GDAL raise.

    Some of GDAL's own errors pass through rasterio unwrapped, and their base class is not public: so by module. Where a
    message quotes letters that are no UTF-8, rasterio fails to read it.
    """
    modules = {kind.__module__ for kind in type(error).__mro__}
    return isinstance(error, UnicodeDecodeError) or not modules.isdisjoint(("rasterio.errors", "rasterio._err"))
