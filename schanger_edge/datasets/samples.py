"""One sample of a labelled dataset, read window by window, and the rule that makes its label values True."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.errors import DatasetError, SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene.opening import gdal_errors, open_dataset
from schanger_edge.scene.orientation import Orientation
from schanger_edge.scene.radiometry import stored_black

JPEG_SUFFIXES = {".jpg", ".jpeg"}
_GDAL = {
    "GDAL_ERROR_ON_LIBJPEG_WARNING": True,  # a truncated JPEG is else grey below the cut, without an error
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # folders hold ten thousand files; nothing beside an image is needed
    "GDAL_PAM_ENABLED": False,
}
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

    Entering reads headers only. All files are read as viewers show them: turned by their EXIF orientation, and
    dark where white is stored as 0. Grey images become three equal channels, palettes become their colours, alpha is
    dropped. A label of several channels counts by its greatest one; that of a palette by its colours (0/255 however
    they are numbered), but by its indices where the rule lists values.

    Attributes:
        height: rows, the same in all files.
        width: columns.
    """

    height: int
    width: int

    def __init__(self, files: LabelledFiles, rule: LabelRule) -> None:
        self.files, self.rule = files, rule
        self._open: list[_Raster] = []

    def __enter__(self) -> Sample:
        try:
            for path in (*self.files.images, self.files.label):
                self._open.append(_open(path))
            first = self._open[0]
            self.height, self.width = first.shape
            for raster in self._open[1:]:
                height, width = raster.shape
                if (height, width) != first.shape:
                    own = f"{width} x {height} pixels"
                    other = f"{first.path} has {self.width} x {self.height}"
                    raise DatasetError(
                        f"{raster.path} has a different size, {own} where {other}: replace or remove it."
                    )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._open.pop().dataset.close()

    def images(self, window: Window | None = None) -> tuple[NDArray[np.uint8], ...]:
        """uint8 RGB (3, h, w) of each date in a window, or of the whole.

        Raises:
            DatasetError: a file is damaged or truncated.
        """
        return tuple(_rgb(raster, window) for raster in self._open[:-1])

    def label(self, window: Window | None = None) -> NDArray[np.bool_]:
        """The label (h, w) in a window, or the whole; True by the rule.

        Raises:
            DatasetError: the file is damaged or truncated.
        """
        return self.rule(self._label_values(window))

    def _label_values(self, window: Window | None = None) -> NDArray[np.uint8]:
        raster = self._open[-1]
        bands = _color_bands(raster.dataset)
        values = _read(raster, bands, window)
        if len(bands) == 1 and not self.rule.values and _has_palette(raster.dataset):
            values = _palette(raster.dataset)[:, values[0]]
        greatest: NDArray[np.uint8] = values.max(0)
        return greatest


def kinds_of_labels(files: Sequence[LabelledFiles], rule: LabelRule) -> set[bool]:
    """Whether labels have pixels that count, and such that don't; reads no more of them than it takes to see both.

    Raises:
        DatasetError: a label is damaged or truncated.
    """
    kinds: set[bool] = set()
    for entry in files:
        with Sample(dataclasses.replace(entry, images=()), rule) as sample:
            kinds |= {bool(kind) for kind in np.unique(sample.label())}
        if len(kinds) == 2:
            break
    return kinds


def warning_on_labels(
    place: str, files: Sequence[LabelledFiles], rule: LabelRule | str, kinds: set[bool], choose: str
) -> str:
    """A sentence where labels are all alike, so that neither scores nor training mean anything; else an empty one.

    Args:
        place: that the labels are of.
        files: theirs; the values of the first label are told.
        rule: by which they were read.
        kinds: see `kinds_of_labels`.
        choose: what the user chooses the values with that count.
    """
    if len(kinds) == 2:
        return ""
    found = ""
    if files:
        every = LabelRule(values=tuple(range(256)))  # by which a label's values are those that a rule can name
        with Sample(dataclasses.replace(files[0], images=()), every) as sample:
            values = np.unique(sample._label_values())
        some = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
        found = f" (values in {files[0].label.name}: {some})"
    return (
        f"{'every' if True in kinds else 'no'} label pixel of {place} counts by the rule `{rule}`{found}: scores say "
        f"nothing, and there is nothing to learn; if that is not so, choose the values that count with {choose}."
    )


@dataclasses.dataclass(frozen=True)
class _Raster:
    """An open file, and GDAL's options for it."""

    path: Path
    dataset: Any
    options: Mapping[str, Any]
    turn: Orientation
    black: float | None  # the stored value, where white is 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) as shown."""
        return self.turn.shape(*self.dataset.shape)


def _open(path: Path) -> _Raster:
    # GDAL's fast way with whole PNGs, twice as fast, gives noise instead of an error where the file was cut short.
    options = {**_GDAL, "GDAL_PNG_WHOLE_IMAGE_OPTIM": _is_whole_png(path)}
    try:
        with rasterio.Env(**options):
            dataset = open_dataset(str(path))
    except SceneError as error:
        raise _unreadable(path) from error
    if set(dataset.dtypes) != {"uint8"}:
        with dataset:
            raise _not_bytes(path, dataset)
    return _Raster(path, dataset, options, Orientation.of(dataset), stored_black(dataset))


def _not_bytes(path: Path, dataset: Any) -> DatasetError:
    """Says how to convert: with one range for all files, where GDAL alone cuts off at 255 or stretches each apart."""
    kinds = ", ".join(sorted(set(dataset.dtypes))) or "no bands"
    if not dataset.count:
        return DatasetError(f"{path} has no bands: replace or remove it.")
    sides = [min(side, _LOOKED_AT) for side in dataset.shape]
    with gdal_errors(lambda _: _unreadable(path)):
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


def _read(raster: _Raster, bands: Sequence[int], window: Window | None) -> NDArray[np.uint8]:
    """(bands, h, w) of an open file, as shown."""
    part = None if window is None else raster.turn.stored(window, *raster.dataset.shape).rasterio
    with rasterio.Env(**raster.options), gdal_errors(lambda _: _unreadable(raster.path)):
        pixels: NDArray[np.uint8] = raster.dataset.read(list(bands), window=part)
    if raster.black is not None:
        np.subtract(raster.black, pixels, out=pixels, casting="unsafe")
    return raster.turn.shown(pixels)


def _rgb(raster: _Raster, window: Window | None) -> NDArray[np.uint8]:
    bands = _color_bands(raster.dataset)
    pixels = _read(raster, bands[:3] if len(bands) > 2 else bands[:1], window)
    if len(pixels) == 3:
        return pixels
    if _has_palette(raster.dataset):
        return np.ascontiguousarray(_palette(raster.dataset)[:, pixels[0]])
    return np.repeat(pixels, 3, axis=0)


def _color_bands(dataset: Any) -> list[int]:
    """Numbers of the bands that are not alpha."""
    bands = [band for band, color in enumerate(dataset.colorinterp, 1) if color != ColorInterp.alpha]
    return bands or [1]


def _has_palette(dataset: Any) -> bool:
    return bool(dataset.colorinterp[0] == ColorInterp.palette)


def _palette(dataset: Any) -> NDArray[np.uint8]:
    """Red, green, blue of every index, (3, 256)."""
    table = np.zeros((3, 256), np.uint8)
    for index, color in dataset.colormap(1).items():
        table[:, index] = color[:3]
    return table


def _unreadable(path: Path) -> DatasetError:
    return DatasetError(f"{path} cannot be read: it is damaged, incomplete or not an image. Replace or remove it.")
