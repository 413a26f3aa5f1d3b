"""One sample of a labelled dataset, read window by window, and the rule that makes its label values True.

A file that is damaged, truncated or of another kind is a DatasetError.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.errors import DatasetError, SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene.cover import check_written
from schanger_edge.scene.image import SceneImage
from schanger_edge.scene.opening import damaged, gdal_errors, open_dataset
from schanger_edge.scene.orientation import Orientation
from schanger_edge.scene.radiometry import stored_black
from schanger_edge.scene.refusing import check_vrt
from schanger_edge.scene.remote import reading
from schanger_edge.tiling.plan import fill_invalid

JPEG_SUFFIXES = {".jpg", ".jpeg"}
_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # folders hold ten thousand files; nothing beside an image is needed
    "GDAL_PAM_ENABLED": False,
}
Color = tuple[int, int, int]
_LOOKED_AT = 2048  # pixels a side, where the largest value is looked for
_PNG_END = b"IEND\xaeB`\x82"


@dataclasses.dataclass(frozen=True)
class LabelRule:
    """Which values of a label file mean True; `str(rule)` describes it.

    Attributes:
        above: values greater than this.
        values: exactly these values instead, where there are any.
    """

    above: int = 0
    values: tuple[int, ...] = ()

    @classmethod
    def for_files(cls, files: Sequence[LabelledFiles], text: str = "auto") -> LabelRule:
        """The rule that `text` asks for.

        Args:
            files: the samples it is for; only the names of their labels are looked at.
            text: `nonzero`; `>127`; values from 0 to 255 such as `2,3`; or `auto`, which is `>127` where labels are
                JPEG files, because compression leaves noise around 0, and else `nonzero`.

        Raises:
            DatasetError: the text is none of these.
        """
        if text == "auto":
            jpeg = any(entry.label.suffix.lower() in JPEG_SUFFIXES for entry in files)
            return cls(127 if jpeg else 0)
        if text in ("nonzero", ">127"):
            return cls(127 if text == ">127" else 0)
        try:
            values = tuple(sorted({int(part) for part in text.split(",")}))
        except ValueError:
            values = (-1,)
        if not all(0 <= value <= 255 for value in values):
            raise DatasetError(f"label rule {text!r} is unknown: use auto, nonzero, >127, or values such as 2,3.")
        return cls(values=values)

    def __call__(self, label: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """True where a value counts; the same shape."""
        if not self.values:
            return label > self.above
        table = np.zeros(256, bool)
        table[list(self.values)] = True
        return table[label]

    def __str__(self) -> str:
        if self.values:
            return "value = " + " or ".join(map(str, self.values))
        return f"value > {self.above}" if self.above else "value != 0"


class Sample:
    """The images and the label of one sample; a context that holds their files open and no pixels.

    Entering reads headers only. Images are read as a run reads them, see `SceneImage`, and labels as viewers show them.
    Where one date has no data, all are black and nothing is labelled. A label of several channels counts by its
    greatest one; that of a palette by its colours (0/255 however they are numbered), but by its indices where the rule
    lists values.

    Args:
        files: where they lie.
        rule: which values of the label count.
        fill: colour of each date where there is no data; None is black.

    Attributes:
        height: rows, the same in all files.
        width: columns.
        warnings: what the images leave in doubt, and what was made of it, in sentences.
    """

    height: int
    width: int
    _images: list[_Image]
    _label: _Label

    def __init__(self, files: LabelledFiles, rule: LabelRule, fill: Sequence[Color] | None = None) -> None:
        self.files, self.rule = files, rule
        self.warnings: list[str] = []
        self._fill = fill or [(0, 0, 0)] * len(files.images)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Sample:
        with contextlib.ExitStack() as stack:
            self._images = [stack.enter_context(contextlib.closing(_Image(path))) for path in self.files.images]
            self._label = stack.enter_context(contextlib.closing(_Label(self.files.label)))
            first, *others = (*self._images, self._label)
            self.height, self.width = first.shape
            for other in others:
                height, width = other.shape
                if (height, width) != first.shape:
                    raise DatasetError(
                        f"{other.path} has a different size, {width} x {height} pixels where {first.path} has "
                        f"{self.width} x {self.height}: replace or remove it."
                    )
            self._open = stack.pop_all()
        self.warnings = [warning for one in self._images for warning in one.image.warnings]
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self, window: Window | None = None) -> tuple[tuple[NDArray[np.uint8], ...], NDArray[np.bool_] | None]:
        """uint8 RGB (3, h, w) of each date in a window or the whole; where all have data (h, w), None if all over."""
        dates = [one.read(window or Window(0, 0, self.width, self.height)) for one in self._images]
        images = tuple(image for image, _ in dates)
        valid: NDArray[np.bool_] = np.logical_and.reduce([valid for _, valid in dates])
        if valid.all():
            return images, None
        for image, color in zip(images, self._fill, strict=True):
            fill_invalid(image, valid, color)
        return images, valid

    def images(self, window: Window | None = None) -> tuple[NDArray[np.uint8], ...]:
        """The pixels of `read`."""
        return self.read(window)[0]

    def label(self, window: Window | None = None) -> NDArray[np.bool_]:
        """The label (h, w) in a window, or the whole; True by the rule, and never where an image has no data."""
        label = self._label.read(self.rule, window)
        if any(one.image.may_hide for one in self._images):
            valid = self.read(window)[1]
            label = label if valid is None else label & valid
        return label


def kinds_of_labels(files: Sequence[LabelledFiles], rule: LabelRule) -> set[bool]:
    """Whether labels have pixels that count, and such that don't; reads no more of them than it takes to see both."""
    kinds: set[bool] = set()
    for entry in files:
        with contextlib.closing(_Label(entry.label)) as label:
            kinds.update(np.unique(label.read(rule)).tolist())
        if len(kinds) == 2:
            break
    return kinds


def warning_on_labels(
    place: str, files: Sequence[LabelledFiles], rule: LabelRule | str, kinds: set[bool], choose: str
) -> str:
    """A sentence where labels are all alike, so that neither scores nor training mean anything; else an empty one.

    It names the place that the labels are of, the values of the first of their files, the rule by which they were read
    and what the user chooses the values with that count; for kinds see `kinds_of_labels`.
    """
    if len(kinds) == 2:
        return ""
    found = ""
    if files:
        with contextlib.closing(_Label(files[0].label)) as label:
            values = np.unique(label.values())
        some = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
        found = f" (values in {files[0].label.name}: {some})"
    return (
        f"{'every' if True in kinds else 'no'} label pixel of {place} counts by the rule `{rule}`{found}: scores say "
        f"nothing, and there is nothing to learn; if that is not so, choose the values that count with {choose}."
    )


class _Image:
    """An open image of one date."""

    def __init__(self, path: Path) -> None:
        self.path, self._options = path, _options(path)
        with rasterio.Env(**self._options), _as_dataset_errors():
            self.image = SceneImage(str(path))
        self.close = self.image.close
        if self.image.dtype != np.uint8:
            self.close()
            raise _not_bytes(path)
        self.image.take_stretch()

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) as shown."""
        return self.image.grid.height, self.image.grid.width

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """uint8 RGB (3, h, w), and where it has data (h, w)."""
        with rasterio.Env(**self._options), _as_dataset_errors():
            return self.image.read(window)


class _Label:
    """An open label, whose bands and indices count as they are stored."""

    def __init__(self, path: Path) -> None:
        self.path, self._options = path, _options(path)
        with rasterio.Env(**self._options), _as_dataset_errors(), contextlib.ExitStack() as stack:
            self.dataset = stack.enter_context(open_dataset(str(path)))
            check_vrt(self.dataset, str(path))
            if set(self.dataset.dtypes) != {"uint8"}:
                raise _not_bytes(path)
            colors = enumerate(self.dataset.colorinterp, 1)
            self._bands = [band for band, color in colors if color != ColorInterp.alpha] or [1]
            check_written(self.dataset, self._bands, str(path))
            self.close = stack.pop_all().close
        self._turn, self._black = Orientation.of(self.dataset), stored_black(self.dataset)

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) as shown."""
        return self._turn.shape(*self.dataset.shape)

    def read(self, rule: LabelRule, window: Window | None = None) -> NDArray[np.bool_]:
        """(h, w) by the rule."""
        return rule(self.values(window, colors=not rule.values))

    def values(self, window: Window | None = None, *, colors: bool = False) -> NDArray[np.uint8]:
        """(h, w) as a rule of values sees them; `colors`: those of a palette count, and not its indices."""
        part = None if window is None else self._turn.stored(window, *self.dataset.shape).rasterio
        with rasterio.Env(**self._options), _as_dataset_errors(), _read_errors(str(self.path)):
            values: NDArray[np.uint8] = self.dataset.read(self._bands, window=part)
        if self._black is not None:
            np.subtract(self._black, values, out=values, casting="unsafe")
        if len(values) == 1 and colors and self.dataset.colorinterp[0] == ColorInterp.palette:
            values = _palette(self.dataset)[:, values[0]]
        return self._turn.shown(values.max(0) if len(values) > 1 else values[0])


def _options(path: Path) -> Mapping[str, Any]:
    # GDAL's fast way with whole PNGs, twice as fast, gives noise instead of an error where the file was cut short.
    return {**_GDAL, "GDAL_PNG_WHOLE_IMAGE_OPTIM": _is_whole_png(path)}


def _not_bytes(path: Path) -> DatasetError:
    """Says how to convert: with one range for all files, where GDAL alone cuts off at 255 or stretches each apart."""
    with _as_dataset_errors(), open_dataset(str(path)) as dataset:
        if not dataset.count:
            return DatasetError(f"{path} has no bands: replace or remove it.")
        kinds = ", ".join(sorted(set(dataset.dtypes)))
        sides = [min(side, _LOOKED_AT) for side in dataset.shape]
        with _read_errors(str(path)):
            pixels = np.nan_to_num(dataset.read(out_shape=(dataset.count, *sides)), posinf=0, neginf=0)
    largest = float(np.abs(pixels).max())
    scale, how = "", "convert it"
    if pixels.dtype.kind == "f" and largest <= 1:
        scale = " -scale 0 1 0 255"
    elif largest > 255:
        scale = f" -scale 0 {2 ** math.ceil(math.log2(largest + 1)) - 1} 0 255"
    if scale:
        how = "convert all images of the dataset alike, with a range that holds the values of each"
    return DatasetError(
        f"{path} has pixels of type {kinds}, not uint8, with values up to {largest:g}: {how}: "
        f"`gdal_translate -ot Byte{scale} IN OUT`."
    )


def _is_whole_png(path: Path) -> bool:
    """True where a file ends as every PNG does."""
    try:
        with path.open("rb") as file:
            file.seek(-len(_PNG_END), os.SEEK_END)
            return file.read() == _PNG_END
    except OSError:  # absent or shorter: opening it will say so
        return False


@contextlib.contextmanager
def _as_dataset_errors() -> Iterator[None]:
    try:
        yield
    except SceneError as error:
        raise DatasetError(str(error)) from error


@contextlib.contextmanager
def _read_errors(name: str) -> Iterator[None]:
    with reading(name), gdal_errors(lambda error: damaged(name, error)):
        yield


def _palette(dataset: Any) -> NDArray[np.uint8]:
    """Red, green, blue of every index, (3, 256)."""
    table = np.zeros((3, 256), np.uint8)
    for index, color in dataset.colormap(1).items():
        table[:, index] = color[:3]
    return table
