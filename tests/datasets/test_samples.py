"""Samples read window by window: pixels, label rules, and one sentence for each damaged file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import LabelRule, Sample, kinds_of_labels, warning_on_labels
from schanger_edge.errors import DatasetError
from schanger_edge.geo.grid import Window

NONZERO = LabelRule()


def save(path: Path, pixels: np.ndarray) -> Path:
    """(H, W), or (H, W, 3) in RGB, or (H, W, 4) in RGBA."""
    order = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[
        pixels.ndim if pixels.ndim == 2 else pixels.shape[2]
    ]
    assert cv2.imwrite(str(path), pixels if order is None else cv2.cvtColor(pixels, order))
    return path


def paletted(path: Path, indices: np.ndarray, colors: dict[int, tuple[int, int, int]]) -> Path:
    """A PNG of palette indices (H, W)."""
    profile = {"driver": "PNG", "count": 1, "height": indices.shape[0], "width": indices.shape[1], "dtype": "uint8"}
    with rasterio.open(path, "w", **profile) as target:
        target.write(indices, 1)
        target.write_colormap(1, colors)
    with rasterio.open(path) as stored:
        assert stored.colorinterp[0] == ColorInterp.palette
    return path


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 255, (40, 60, 3), np.uint8)


@pytest.fixture
def files(tmp_path: Path, pixels: np.ndarray) -> LabelledFiles:
    label = np.zeros((40, 60), np.uint8)
    label[10:20, 30:50] = 255
    paths = [save(tmp_path / f"{name}.png", image) for name, image in zip("ab", (pixels, pixels[::-1]), strict=True)]
    return LabelledFiles("a", tuple(paths), save(tmp_path / "label.png", label))


def test_whole_and_window_are_the_stored_pixels(files: LabelledFiles, pixels: np.ndarray) -> None:
    window = Window(35, 5, 20, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # plain images are no reason to warn
        with Sample(files, NONZERO) as sample:
            assert (sample.height, sample.width) == (40, 60)
            before, after = sample.images()
            part, _ = sample.images(window)
            label = sample.label(window)
    expected = pixels.transpose(2, 0, 1)
    assert (before.dtype, label.dtype) == (np.uint8, np.bool_)
    assert (before == expected).all()
    assert (after == expected[:, ::-1]).all()
    assert (part == expected[:, 5:17, 35:55]).all()
    assert label.shape == (12, 20)
    assert (np.argwhere(label)[0] == (5, 0)).all()
    assert label.sum() == 7 * 15


def test_files_are_closed(files: LabelledFiles, tmp_path: Path) -> None:
    def opened() -> list[str]:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return [os.readlink(link) for link in links if link.is_symlink() and str(tmp_path) in os.readlink(link)]

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files can be listed on Linux only")
    with Sample(files, NONZERO) as sample:
        sample.images()
        assert len(opened()) >= 2
    assert opened() == []
    save(files.label, np.zeros((8, 8), np.uint8))
    with pytest.raises(DatasetError), Sample(files, NONZERO):
        pass
    assert opened() == []


def test_grey_alpha_and_palette_images(tmp_path: Path, pixels: np.ndarray) -> None:
    label = save(tmp_path / "label.png", np.zeros((40, 60), np.uint8))
    gray = save(tmp_path / "gray.png", pixels[..., 0])
    alpha = save(tmp_path / "alpha.png", np.dstack([pixels, np.full((40, 60), 7, np.uint8)]))
    indices = (pixels[..., 0] > 99).astype(np.uint8)
    palette = paletted(tmp_path / "palette.png", indices, {0: (9, 8, 7), 1: (200, 100, 50)})
    with Sample(LabelledFiles("x", (gray, alpha, palette), label), NONZERO) as sample:
        one, two, three = sample.images()
    assert (one == pixels[..., 0]).all()
    assert (two == pixels.transpose(2, 0, 1)).all()
    assert (three == np.where(indices == 1, *np.array([[200, 100, 50], [9, 8, 7]], np.uint8)[..., None, None])).all()
    assert {image.shape for image in (one, two, three)} == {(3, 40, 60)}


def read_label(path: Path, image: Path, text: str) -> np.ndarray:
    files = LabelledFiles("x", (image,), path)
    with Sample(files, LabelRule.for_files([files], text)) as sample:
        return sample.label()


def test_labels_of_one_value_of_colours_and_of_palettes(tmp_path: Path, files: LabelledFiles) -> None:
    image, eye = files.images[0], np.eye(40, 60, dtype=np.uint8)
    assert (read_label(save(tmp_path / "1.png", eye), image, "auto") == eye).all()
    colored = np.dstack([np.zeros((40, 60, 2), np.uint8), eye * 200])
    assert (read_label(save(tmp_path / "2.png", colored), image, "auto") == eye).all()
    clear = np.dstack([eye * 255] * 3 + [np.full((40, 60), 255, np.uint8)])
    assert (read_label(save(tmp_path / "3.png", clear), image, "auto") == eye).all()  # alpha is no value
    swapped = paletted(tmp_path / "4.png", 1 - eye, {0: (255, 255, 255), 1: (0, 0, 0)})
    for rule in ("auto", "nonzero", ">127"):
        assert (read_label(swapped, image, rule) == eye).all()  # colours count, not their numbers
    assert (read_label(swapped, image, "1") == 1 - eye).all()  # listed values are classes: the numbers count


def test_jpeg_labels_are_cut_at_half(tmp_path: Path, files: LabelledFiles) -> None:
    truth = np.zeros((40, 60), np.uint8)
    truth[10:21, 13:40] = 255
    path = save(tmp_path / "label.jpg", truth)
    raw = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert raw is not None
    assert (read_label(path, files.images[0], "auto") == (raw > 127)).all()
    noisy = read_label(path, files.images[0], "nonzero")
    assert noisy.sum() > (raw > 127).sum()  # compression noise around 0 would count as change
    assert (noisy == (raw != 0)).all()


def test_rules_in_words(files: LabelledFiles) -> None:
    jpeg = LabelledFiles("a", files.images, Path("a.JPG"))
    assert str(LabelRule.for_files([files])) == "value != 0"
    assert str(LabelRule.for_files([files, jpeg])) == "value > 127"
    assert str(LabelRule.for_files([jpeg], "nonzero")) == "value != 0"
    assert str(LabelRule.for_files([files], "3, 2")) == "value = 2 or 3"
    classes = np.array([[0, 1, 2], [3, 4, 255]], np.uint8)
    assert (LabelRule.for_files([files], "2,3,255")(classes) == [[False, False, True], [True, False, True]]).all()
    for text in ("", "some", "256", "-1", "1,,2"):
        with pytest.raises(DatasetError, match="auto, nonzero, >127"):
            LabelRule.for_files([files], text)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_truncated_files(tmp_path: Path, files: LabelledFiles, pixels: np.ndarray, suffix: str, share: float) -> None:
    path = save(tmp_path / f"cut{suffix}", pixels)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with (
        pytest.raises(DatasetError, match=rf"cut\{suffix} (is incomplete|cannot be read|cannot be opened as an image)"),
        Sample(LabelledFiles("x", (files.images[0], path), files.label), NONZERO) as sample,
    ):
        sample.images()


def test_a_damaged_png_in_the_middle_and_a_whole_one_with_bytes_after_it(
    tmp_path: Path, files: LabelledFiles, pixels: np.ndarray
) -> None:
    path = save(tmp_path / "x.png", pixels)
    stored = path.read_bytes()
    path.write_bytes(stored + b"appended")
    with Sample(LabelledFiles("x", (path,), files.label), NONZERO) as sample:
        assert (sample.images()[0] == pixels.transpose(2, 0, 1)).all()
    middle = len(stored) // 2
    path.write_bytes(stored[:middle] + bytes(16) + stored[middle + 16 :])
    with (
        pytest.raises(DatasetError, match=r"x\.png cannot be read: it is damaged or incomplete"),
        Sample(LabelledFiles("x", (path,), files.label), NONZERO) as sample,
    ):
        sample.images()


def test_defects(tmp_path: Path, files: LabelledFiles, pixels: np.ndarray) -> None:
    def refused(path: Path, sentence: str) -> None:
        for entry in (
            LabelledFiles("x", (files.images[0], path), files.label),
            LabelledFiles("x", files.images, path),
        ):
            with pytest.raises(DatasetError, match=sentence), Sample(entry, NONZERO):
                pass

    (tmp_path / "text.png").write_text("no image")
    refused(tmp_path / "text.png", r"text\.png is incomplete")
    refused(tmp_path / "none.png", r"none\.png does not exist")
    refused(save(tmp_path / "small.png", pixels[:20]), r"small\.png has a different size, 60 x 20 .* has 60 x 40")
    refused(save(tmp_path / "deep.png", pixels.astype(np.uint16)), r"deep\.png has pixels of type uint16, not uint8")


LABELS = {
    "0 and 255": (lambda on: on * np.uint8(255), "auto", ""),
    "all black": (
        lambda on: on * 0,
        "auto",
        "no label pixel of here counts by the rule `value != 0` (values in a.png: 0)",
    ),
    "white where nothing changed": (
        lambda on: np.where(on[..., None], np.array([128, 0, 0]), 255),
        "auto",
        "every label pixel of here counts by the rule `value != 0` (values in a.png: 128, 255)",
    ),
    "painted on a transparent layer": (
        lambda on: np.dstack([on * 0 + 255, on * 0, on * 0, on * 255]),
        "auto",
        "every label pixel of here counts by the rule `value != 0` (values in a.png: 255)",
    ),
    "0 and 1 above 127": (
        lambda on: on,
        ">127",
        "no label pixel of here counts by the rule `value > 127` (values in a.png: 0, 1)",
    ),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_are_all_alike_get_a_sentence(kind: str, tmp_path: Path) -> None:
    draw, text, expected = LABELS[kind]
    on = np.zeros((40, 60), np.uint8)
    on[10:20, 30:50] = 1
    files = [LabelledFiles("a", (), save(tmp_path / "a.png", np.asarray(draw(on), np.uint8)))]
    rule = LabelRule.for_files(files, text)
    warning = warning_on_labels("here", files, rule, kinds_of_labels(files, rule), "--label")
    assert warning.startswith(expected)
    assert bool(warning) == bool(expected)
    assert not warning or warning.endswith("choose the values that count with --label.")


def test_a_palette_without_black_is_told_by_its_indices(tmp_path: Path) -> None:
    """Those are what a rule of values means."""
    on = np.zeros((40, 60), np.uint8)
    on[10:20] = 1
    path = paletted(tmp_path / "a.png", on, {0: (68, 1, 84), 1: (253, 231, 37)})
    files = [LabelledFiles("a", (), path)]
    assert "(values in a.png: 0, 1)" in warning_on_labels("here", files, NONZERO, kinds_of_labels(files, NONZERO), "x")
    assert kinds_of_labels(files, LabelRule(values=(1,))) == {True, False}


def test_labels_are_read_until_both_kinds_are_seen(tmp_path: Path) -> None:
    on = np.zeros((4, 4), np.uint8)
    on[0] = 255
    good = LabelledFiles("a", (), save(tmp_path / "a.png", on))
    damaged = LabelledFiles("b", (), tmp_path / "absent.png")
    assert kinds_of_labels([good, damaged], NONZERO) == {True, False}


@pytest.mark.parametrize(
    ("pixels", "command"),
    [
        (
            np.full((5, 5), 4080, np.uint16),
            "not uint8, with values up to 4080: .*`gdal_translate -ot Byte -scale 0 4095 0 255 IN",
        ),
        (np.full((5, 5), 65535, np.uint16), "`gdal_translate -ot Byte -scale 0 65535 0 255 IN OUT`"),
        (np.full((5, 5), 3, np.uint16), "with values up to 3: convert it: `gdal_translate -ot Byte IN OUT`"),
        (np.full((5, 5), 0.75, np.float32), "`gdal_translate -ot Byte -scale 0 1 0 255 IN OUT`"),
    ],
)
def test_other_types_are_refused_with_a_command_that_keeps_their_values(
    pixels: np.ndarray, command: str, tmp_path: Path
) -> None:
    profile = {"driver": "GTiff", "count": 1, "height": 5, "width": 5, "dtype": pixels.dtype}
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(pixels, 1)
    with pytest.raises(DatasetError, match=command), Sample(LabelledFiles("a", (), tmp_path / "a.tif"), NONZERO):
        pass
