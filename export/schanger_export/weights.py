"""Weights by name: a file, a published checkpoint, or that of a bundled model.

Published checkpoints come from the authors' repository on the Hugging Face Hub and stay in its cache. Nothing here
imports torch: a wrong name or a missing network is said at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from schanger_edge.errors import CheckpointError, extra
from schanger_edge.model.published import DATASETS, LICENSE, PAGE, REPOSITORY
from schanger_edge.progress import Progress
from schanger_export.architecture import WIDTHS, Size

PRETRAIN = "pretrain"
BUNDLED = Path(__file__).parent / "bundled"

CHUNK = 1 << 18
"""Bytes between two steps of the bar. The client's own 10 MiB exceed a checkpoint: a cut would start it anew."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights that lie on this disk.

    Attributes:
        path: the checkpoint.
        card: what their name says of them, in the words of a checkpoint's card; empty for a file.
    """

    path: Path
    card: dict[str, Any] = dataclasses.field(default_factory=dict)


def resolve(name: str | os.PathLike[str], size: str | None = None) -> Path:
    """The checkpoint file of weights, see `find`."""
    return find(name, size).path


def find(name: str | os.PathLike[str], size: str | None = None, progress: Progress | None = None) -> Weights:
    """Find weights, and fetch published ones into the cache where they are not yet there.

    Args:
        name: an existing file; `DATASET:SIZE` or `pretrain:SIZE` of the published ones; or a bundled model's name.
        size: `small` or `base`, where a published name does not say it.
        progress: hears of `fetch` in bytes; None shows the client's bar on standard error, if that is a terminal.

    Raises:
        CheckpointError: there are no such weights, or they are neither in the cache nor can they be fetched.
    """
    if Path(name).is_file():
        return Weights(Path(name))
    text = os.fspath(name).lower()
    if text in bundled_names():
        return Weights(BUNDLED / f"{text}.pth")
    kind, file_size = _published(text, size)
    if kind == PRETRAIN:
        card, file = {}, f"schanger_{file_size}_{PRETRAIN}.pth"
    else:
        card, file = {"dataset": kind}, DATASETS[kind].checkpoint_name(file_size)
    path = _fetch(file, f"{kind}:{file_size}", progress)
    return Weights(path, {"size": file_size, "license": LICENSE, **card})


def bundled_names() -> list[str]:
    """Names of the bundled models whose checkpoint comes with the package."""
    return sorted(path.stem for path in BUNDLED.glob("*.pth"))


def _published(text: str, size: str | None) -> tuple[str, Size]:
    """Dataset (or `pretrain`) and size of a published checkpoint's name."""
    kind, _, stated = text.partition(":")
    if kind not in (*DATASETS, PRETRAIN) or stated not in ("", *WIDTHS):
        bundled = "".join(f", or {name}" for name in bundled_names())
        raise CheckpointError(
            f"weights {text} are neither a file nor a known name: use one of {', '.join(DATASETS)} or {PRETRAIN} "
            f"with :small or :base after it{bundled}."
        )
    if stated and size and stated != size:
        raise CheckpointError(f"weights {text} are for the {stated} network, not {size}: omit the size.")
    for known in WIDTHS:
        if known == (stated or size):
            return kind, known
    raise CheckpointError(f"weights {kind} come in two sizes: use {kind}:small or {kind}:base.")


def _fetch(file: str, name: str, progress: Progress | None) -> Path:
    """The cached file of the repository, brought up to date where the Hub answers.

    One short question goes before the first download: left alone, the client asks a silent network for minutes.
    """
    with extra("models"):
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
        from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of whichever library carries it

    with _quiet_client():
        try:
            if not isinstance(try_to_load_from_cache(REPOSITORY, file), str):
                get_hf_file_metadata(hf_hub_url(REPOSITORY, file))
            return Path(hf_hub_download(REPOSITORY, file, tqdm_class=_bar(progress) if progress else None))
        except (HTTPError, OSError, ImportError) as error:  # of a proxy's package, for one
            raise _failure(error, file, name) from error


def _bar(progress: Progress) -> Any:
    """A class of bars that tell `progress` in place of a terminal."""
    from tqdm import tqdm  # the client asks for its class

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **{**settings, "file": io.StringIO(), "disable": False})

        def display(self, *_: Any, **__: Any) -> None:
            progress("fetch", self.n, self.total or self.n or 1)

    return Bar


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """The client without its warnings, which our sentence replaces."""
    import huggingface_hub
    from huggingface_hub import constants

    utils: Any = huggingface_hub.utils  # its types export less than it documents
    verbosity, chunk = utils.logging.get_verbosity(), constants.DOWNLOAD_CHUNK_SIZE
    try:
        utils.logging.set_verbosity_error()
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = chunk
        utils.logging.set_verbosity(verbosity)


_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name where certificates are."""


def _failure(error: Exception, file: str, name: str) -> CheckpointError:
    """One sentence for what the client raised."""
    from huggingface_hub import constants, errors

    cache, host = constants.HF_HUB_CACHE, constants.ENDPOINT
    otherwise = "or give the path of a file instead"
    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ else error
    status = getattr(getattr(cause, "response", None), "status_code", None)
    if isinstance(cause, errors.OfflineModeIsEnabled):
        what = f"are not in the cache {cache}, and HF_HUB_OFFLINE is set: unset it and run once with a network"
    elif isinstance(cause, errors.GatedRepoError):
        what = f"need permission: accept the terms at {PAGE}, and log in with `hf auth login`"
    elif isinstance(cause, errors.RepositoryNotFoundError) or status in (401, 403):
        what = f"are refused ({host} answered {status} for {REPOSITORY}): log in with `hf auth login`, and see {PAGE}"
    elif isinstance(cause, errors.EntryNotFoundError) and status is not None:
        what = f"are not published at {host}: {REPOSITORY} has no {file}; see {PAGE}"
    elif status is not None:
        what = f"could not be fetched ({host} answered {status}): try again later"
    elif absent := [name for name in _CERTIFICATES if not os.path.exists(os.environ.get(name) or os.curdir)]:
        named = f"{absent[0]}={os.environ[absent[0]]}"
        what = f"could not be fetched ({named} does not exist): correct the path of the certificates"
    elif isinstance(cause, OSError) and cause.errno is not None:
        what = (
            f"cannot be stored in {cache} ({cause.strerror}): free some space there, or set HF_HOME to another folder"
        )
    else:
        reason = (str(cause).splitlines() or [type(cause).__name__])[0].rstrip(".")
        what = f"are not in the cache {cache}, and fetching from {host} failed ({reason}): run once with a network"
    return CheckpointError(f"weights {name} {what}, {otherwise}.")
