"""Where labelled datasets keep their files: the layouts they are published in, found by the names of folders.

Paths only: no image is opened here.

What is missing, empty, of no known layout or without its partner is a DatasetError.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from schanger_edge.errors import DatasetError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}
PAIR_FOLDERS = (("A", "B", "label"), ("A", "B", "OUT"), ("Image1", "Image2", "label"), ("time1", "time2", "label"))
IMAGE_FOLDERS = ("image", "images", "img")
MASK_FOLDERS = ("mask", "masks", "label", "labels", "gt")
_NESTS = ("LEVIR-CD+", "ChangeDetectionDataset/Real/subset", "Real/subset", "subset")
"""Folders that releases put around their splits."""
_SPLITS = ("train", "val", "test")
_TIFF = (".tif", ".tiff")
_SCENE_DATES = (("before", "after"), ("2012", "2016"))


@dataclasses.dataclass(frozen=True)
class LabelledFiles:
    """One sample of a labelled dataset.

    Attributes:
        name: file name of the first image without suffix.
        images: (before, after), or (image,) of a single-date dataset.
        label: the label's file.
    """

    name: str
    images: tuple[Path, ...]
    label: Path


def pair_files(root: Path, split: str) -> list[LabelledFiles]:
    """The pairs of one split, by name. Images and labels belong together by file name without suffix.

    Known layouts: `{split}/{A,B,label}`; the same with `Image1,Image2,label`, `time1,time2,label`, `A,B,OUT`; these
    inside `LEVIR-CD+/` or `ChangeDetectionDataset/Real/subset/`; `A,B,label` with names `{split}_*` or a list of names
    in `list/{split}.txt`, which decides where it exists; `A,B,label` alone, as split "" or ".".
    """
    root = Path(root)
    bases = [root, *(root / nest for nest in _NESTS if (root / nest).is_dir())]
    for base in bases:
        folders = _pair_folders(base / split)
        if folders:
            return _matched(folders)
    for base in bases:
        folders = _pair_folders(base)
        if folders and split not in ("", "."):
            return _flat(base, folders, split)
    raise DatasetError(_what_is_wrong(root, bases, split))


def single_date_files(images: Path, masks: Path | None = None) -> list[LabelledFiles]:
    """Images with their masks, by name; a file belongs to the mask of its name without suffix.

    Args:
        images: folder of images; where `masks` is None, a folder that holds one of image, images, img beside one of
            mask, masks, label, labels, gt.
        masks: folder of masks.
    """
    images = Path(images)
    if masks is None:
        own, marked = ([images / name for name in names] for names in (IMAGE_FOLDERS, MASK_FOLDERS))
        first, masks = (next(filter(Path.is_dir, paths), None) for paths in (own, marked))
        if first is None or masks is None:
            raise DatasetError(
                f"{images} has no pair of folders such as image and mask: it needs one of {', '.join(IMAGE_FOLDERS)} "
                f"beside one of {', '.join(MASK_FOLDERS)}."
            )
        images = first
    return _matched((images, Path(masks)))


def _pair_folders(folder: Path) -> tuple[Path, ...] | None:
    """The folders of both dates and of labels in `folder`, complete ones first; None where no dates are there."""
    choices = [tuple(folder / name for name in names) for names in PAIR_FOLDERS]
    whole = [paths for paths in choices if all(path.is_dir() for path in paths)]
    some = [paths for paths in choices if paths[0].is_dir()]
    return next(iter(whole + some), None)


def _matched(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[LabelledFiles]:
    """What the folders hold under the same name, labels last; all of it, or the given names."""
    found = [_images(folder) for folder in folders]
    if names is None:
        names = sorted(set().union(*found))
    for name in names:
        here = [files[name] for files in found if name in files]
        lacking = [folder.name for folder, files in zip(folders, found, strict=True) if name not in files]
        if lacking:
            what = here[0] if here else f"{name} of the list"
            raise DatasetError(f"{what} has no counterpart in {' and '.join(lacking)}: add it, or remove the file.")
    paths = [[files[name] for files in found] for name in names]
    return [LabelledFiles(own[0].stem, tuple(own[:-1]), own[-1]) for own in paths]


def _flat(base: Path, folders: Sequence[Path], split: str) -> list[LabelledFiles]:
    """The split of a dataset whose splits share their folders."""
    listing, every = base / "list" / f"{split}.txt", set().union(*(_images(folder) for folder in folders))
    if listing.is_file():
        return _matched(folders, _listed(listing, every))
    names = sorted(name for name in every if name.startswith(f"{split}_"))
    if not names and base.name == split:  # the path already leads to the split
        names = sorted(every)
    if not names:
        raise DatasetError(
            f"{base} holds {', '.join(folder.name for folder in folders)}, but neither {listing} nor names that "
            f"start with {split}_: add such a list, or use everything as split '.'."
        )
    return _matched(folders, names)


def _listed(listing: Path, every: set[str]) -> list[str]:
    """The names in a list, one a line, with or without suffix."""
    try:
        lines = listing.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{listing} cannot be read as text: replace or remove it.") from error
    entries = {Path(line.strip()).name for line in lines if line.strip()}
    if not entries:
        raise DatasetError(f"{listing} is empty: list one file name per line, or remove it.")
    return sorted(entry if entry in every else Path(entry).stem for entry in entries)


def _images(folder: Path) -> dict[str, Path]:
    """The images of a folder by name without suffix."""
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist: a dataset needs images and labels side by side.")
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            if path.stem in paths:
                raise DatasetError(f"{path} and {paths[path.stem].name} share one name: remove one of them.")
            paths[path.stem] = path
    if not paths:
        raise DatasetError(f"{folder} holds no images: fill it with {', '.join(sorted(IMAGE_SUFFIXES))} or remove it.")
    return paths


def _what_is_wrong(root: Path, bases: Sequence[Path], split: str) -> str:
    """One sentence on why there is no such split."""
    for base in bases:
        there = [name for name in _SPLITS if name != split and _pair_folders(base / name)]
        if there:
            have = f"{base} has only {' and '.join(there)}"
            return f"{base / split} does not exist, {have}: use one of these, or move part of {there[0]} to it."
    if _is_whole_scenes(root):
        return f"{root} holds whole scenes, not folders of tiles: cut them with `schanger-edge dataset make`."
    wanted = root / split
    if wanted.is_dir():
        return f"{wanted} has none of the known folders: it needs A, B, label (or {_alternatives()})."
    return f"{wanted} does not exist: the root must hold {split}/A, {split}/B, {split}/label (or {_alternatives()})."


def _alternatives() -> str:
    return "; ".join(", ".join(names) for names in PAIR_FOLDERS[1:])


def _is_whole_scenes(root: Path) -> bool:
    """True for a GeoTIFF, and for a folder of a few GeoTIFFs of two dates as WHU-CD is released."""
    if root.is_file():
        return root.suffix.lower() in _TIFF
    files = [path for depth in ("*", "*/*", "*/*/*") for path in root.glob(depth) if path.suffix.lower() in _TIFF]
    names = " ".join(path.relative_to(root).as_posix().lower() for path in files)
    return len(files) <= 20 and any(all(word in names for word in dates) for dates in _SCENE_DATES)
