"""Checkpoints: `{"state_dict": {name: tensor}}` files, read as plain weights and checked name by name.

A sound file holds exactly the tensors of one of four networks: small or base, Siamese or single-date. Whatever does
not fit, cannot be read or cannot be written is a CheckpointError of one sentence; no code in a file is run. Reading
needs numpy alone; torch is imported where a network is made.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import CheckpointError
from schanger_edge.files import replacing, sha256_of
from schanger_export import torch_file
from schanger_export.architecture import WIDTHS, Size, shapes

if TYPE_CHECKING:
    from torch import Tensor

    from schanger_export.network import SChanger, SingleDateNetwork

PREFIXES = ("module.", "_orig_mod.", "network.")
"""What DistributedDataParallel, torch.compile and a module around the network put before every name."""

FIRST_CONVOLUTION = "conv_1.conv.weight"
"""Its shape tells the size of the network."""

CARD: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("name", "size", "dataset", "license", "tiling"), (str,)),
    **dict.fromkeys(("tile", "halo"), (int,)),
    **dict.fromkeys(("threshold", "gsd"), (int, float)),
    **dict.fromkeys(("normalization", "scores"), (dict,)),
}
"""Entries of a model card that a checkpoint's "card" may hold, with their types; others are kept unchecked."""

StateDict = dict[str, NDArray[Any]]


def load_weights(path: str | os.PathLike[str], size: Size | None = None) -> tuple[Size, StateDict]:
    """The weights of a Siamese checkpoint by name, and which network they are of; None takes what the file holds."""
    state = read_state_dict(path)
    size = size or _size_of(path, state)
    _check(path, state, size, siamese=True)
    return size, state


def load_network(path: str | os.PathLike[str], size: Size | None = None) -> SChanger:
    """The Siamese network with a checkpoint's weights, see `load_weights`, on the CPU, in eval mode."""
    from schanger_export.network import SChanger

    size, state = load_weights(path, size)
    network = SChanger(size)
    network.load_state_dict(as_tensors(state))
    return network.eval()


def load_single_date(path: str | os.PathLike[str], size: Size, *, drop_fusion: bool = False) -> SingleDateNetwork:
    """The single-date network with a checkpoint's weights, on the CPU, in eval mode.

    With `drop_fusion` a Siamese checkpoint will do too, without its fusion parameters.
    """
    from schanger_export.network import SingleDateNetwork

    state = read_state_dict(path)
    if drop_fusion:
        fusion = fusion_names(size)
        state = {name: value for name, value in state.items() if name not in fusion}
    _check(path, state, size, siamese=False)
    network = SingleDateNetwork(size)
    network.load_state_dict(as_tensors(state))
    return network.eval()


def load_prior(path: str | os.PathLike[str], size: Size) -> StateDict:
    """Weights to start a Siamese network from: those of one, or of the single-date network without any fusion."""
    state = read_state_dict(path)
    _check(path, state, size, siamese=bool(fusion_names(size) & state.keys()))
    return state


def initialize(
    network: SChanger | SingleDateNetwork, path: str | os.PathLike[str]
) -> Literal["single-date", "siamese"]:
    """Put a prior into a network, in place, and say which network its weights are of.

    Of a single-date one, temporal fusion keeps its fresh values, and a single-date network takes a Siamese one without
    them; what does not fit leaves the network untouched.
    """
    state: Mapping[str, Any] = (
        load_prior(path, network.size)
        if network.siamese
        else load_single_date(path, network.size, drop_fusion=True).state_dict()
    )
    network.load_state_dict(as_tensors(state), strict=False)  # the prior leaves out nothing but fusion
    return "siamese" if fusion_names(network.size) <= state.keys() else "single-date"


def size_of(path: str | os.PathLike[str]) -> Size:
    """Which network a checkpoint holds, by its shapes."""
    return _size_of(path, read_state_dict(path))


def fusion_names(size: Size) -> frozenset[str]:
    """The parameters that the Siamese network has and the single-date network lacks."""
    return frozenset(shapes(size, True).keys() - shapes(size, False).keys())


def as_tensors(values: Any) -> Any:
    """The same with torch's tensors for arrays, in dictionaries and lists of any depth."""
    import torch

    if isinstance(values, np.ndarray):
        return torch.from_numpy(values)
    if isinstance(values, Mapping):
        return {name: as_tensors(value) for name, value in values.items()}
    return type(values)(map(as_tensors, values)) if isinstance(values, list | tuple) else values


def read_state_dict(path: str | os.PathLike[str]) -> StateDict:
    """The tensors of a checkpoint by name, prefixes of wrappers removed.

    The state dict stands in the file alone, or as its "state_dict".
    """
    path = Path(path)
    content = load(path)
    state = content.get("state_dict") if isinstance(content, dict) else None
    if isinstance(content, dict) and all(isinstance(value, np.ndarray) for value in content.values()):
        state = content
    if not isinstance(state, dict) or not state:
        raise CheckpointError(
            f'{path} holds no "state_dict": save the weights as {{"state_dict": network.state_dict()}}.'
        )
    if not all(isinstance(name, str) and isinstance(value, np.ndarray) for name, value in state.items()):
        raise CheckpointError(f"the state_dict in {path} holds values other than tensors: save network.state_dict().")
    return {_bare(name): value for name, value in state.items()}


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a checkpoint says of its weights: any of the entries of `CARD`, in plain values; empty without a card."""
    content = load(Path(path))
    card = content.get("card") if isinstance(content, dict) else None
    if card is None:
        return {}
    wrong = (
        [name for name, kinds in CARD.items() if card.get(name) is not None and not isinstance(card[name], kinds)]
        if isinstance(card, dict)
        else ["the whole card"]
    )
    try:
        plain: dict[str, Any] = json.loads(json.dumps(card, allow_nan=False))
    except (TypeError, ValueError):
        wrong = wrong or ["a value that is not plain"]
    if wrong:
        raise CheckpointError(
            f"the card in {path} is wrong ({', '.join(wrong)}): save the checkpoint again without it."
        )
    return {name: value for name, value in plain.items() if value is not None}


def save_checkpoint(path: str | os.PathLike[str], state_dict: Mapping[str, Tensor], **extra: Any) -> None:
    """Write a checkpoint whole or not at all.

    Beside the weights go `extra` plain values: numbers, words, lists, dictionaries, tensors.
    """
    import torch

    with replacing(Path(path), CheckpointError) as temporary, temporary.open("wb") as file:
        content = io.BytesIO()  # of a full disk torch says no more than that a position is unexpected
        torch.save({"state_dict": dict(state_dict), **extra}, content)
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())


def weights_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a checkpoint file, in hexadecimal."""
    try:
        return sha256_of(Path(path))
    except OSError as error:
        raise _unreadable(Path(path), error) from error


def load(path: Path) -> Any:
    """What a file holds, tensors as arrays; no code in it is run."""
    try:
        return torch_file.read(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except torch_file.RefusedError as error:
        raise CheckpointError(
            f"{path} contains pickled objects, which could run code and are refused ({error}): save only the weights, "
            'as {"state_dict": network.state_dict()}.'
        ) from error
    except torch_file.DamagedError as error:
        raise CheckpointError(
            f"{path} is damaged or not a torch file: download or save the checkpoint again."
        ) from error


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"checkpoint {path} cannot be read ({error.strerror}): give the path of a .pth file.")


def _bare(name: str) -> str:
    while name.startswith(PREFIXES):
        name = name[name.index(".") + 1 :]
    return name


def _check(path: str | os.PathLike[str], state: StateDict, size: Size, *, siamese: bool) -> None:
    wanted, fusion, names = shapes(size, siamese), fusion_names(size), state.keys()
    if siamese and wanted.keys() - fusion <= names and not fusion & names:
        raise CheckpointError(
            f"{path} is a single-date (pre-training) checkpoint without temporal fusion: "
            "fine-tune it on pairs first, or give a change-detection checkpoint."
        )
    if not siamese and fusion <= names:
        raise CheckpointError(
            f"{path} is a change-detection checkpoint, not a single-date (pre-training) one: "
            "give the other, or ask for its fusion parameters to be dropped."
        )
    what = f"the {size} {'network' if siamese else 'single-date network'}"
    missing, unexpected = wanted.keys() - names, names - wanted.keys()
    faults = [f"lacks {_some(missing)}"] if missing else []
    faults += [f"holds the unknown {_some(unexpected)}"] if unexpected else []
    if faults:
        raise CheckpointError(f"{path} does not fit {what}: it {' and '.join(faults)}; give a SChanger checkpoint.")
    if (held := _held(state)) not in (None, size):
        raise CheckpointError(f"{path} holds the {held} network: pass --size {held}.")
    wrong = {name for name, value in state.items() if value.shape != wanted[name]}
    if wrong:
        name = min(wrong)
        raise CheckpointError(
            f"{path} does not fit {what}: {_some(wrong)} with the wrong shape ({name} is {state[name].shape}, "
            f"not {wanted[name]}); give a SChanger checkpoint."
        )
    broken = {name for name, value in state.items() if not np.isfinite(value).all()}
    if broken:
        raise CheckpointError(
            f"{path} has weights that are not finite, {_some(broken)}: its training diverged; use an earlier one."
        )


def _size_of(path: str | os.PathLike[str], state: StateDict) -> Size:
    if (held := _held(state)) is None:
        raise CheckpointError(f"{path} holds neither the small nor the base network: give a SChanger checkpoint.")
    return held


def _held(state: StateDict) -> Size | None:
    """Which network's first convolution this is."""
    first = state.get(FIRST_CONVOLUTION)
    shape = () if first is None else first.shape
    return next((size for size, widths in WIDTHS.items() if shape[:1] == widths[:1]), None)


def _some(names: Collection[str]) -> str:
    """`4 tensors (a, b, c, ...)`: the count and the first three."""
    plural = "" if len(names) == 1 else "s"
    return f"{len(names)} tensor{plural} ({', '.join(sorted(names)[:3])}{', ...' if len(names) > 3 else ''})"
