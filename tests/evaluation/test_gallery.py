"""The gallery: which rows, whose colours, and a page that a real browser shows from a file."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from schanger_edge.errors import ProductError
from schanger_edge.evaluation.gallery import COLORS, PANELS, SIDE, Gallery, GalleryRow
from schanger_edge.evaluation.scores import Counts
from schanger_edge.geo.grid import Window
from schanger_edge.tiling.plan import TilePlan


def add_image(gallery: Gallery, name: str, label: np.ndarray, change: np.ndarray, tile: int = 64) -> None:
    """As an evaluation does, tile by tile; the dates are 50 and 200 all over."""
    height, width = label.shape
    scene = Window(0, 0, width, height)
    for strip in TilePlan(width, height, tile, 0).strips():
        for part in strip:
            at, size = part.owned.slices_in(scene), (3, part.owned.height, part.owned.width)
            images = tuple(np.full(size, value, np.uint8) for value in (50, 200))
            gallery.add(scene, part.owned, images, label[at], change[at].astype(np.float32), change[at])
    gallery.end_image(name)


def decoded(row: GalleryRow) -> dict[str, np.ndarray]:
    """The panels as RGB."""
    pictures = {}
    for name, url in row.panels.items():
        data = np.frombuffer(base64.b64decode(url.split(",", 1)[1]), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert picture is not None
        pictures[name] = picture[..., ::-1]
    return pictures


def blank(height: int = 96, width: int = 128) -> np.ndarray:
    return np.zeros((height, width), bool)


def test_the_worst_come_first_and_only_as_many_as_asked() -> None:
    gallery = Gallery(3)
    for name, wrong in (("few", 2), ("none", 0), ("many", 900), ("first", 50), ("second", 50), ("some", 40)):
        change = blank()
        change.ravel()[:wrong] = True
        add_image(gallery, name, blank(), change)
    assert [(row.name, row.counts.wrong) for row in gallery.rows] == [("many", 900), ("first", 50), ("second", 50)]
    assert gallery.rows[0].counts == Counts(0, 900, 0, 96 * 128 - 900)


def test_panels_show_what_was_given() -> None:
    label, change = blank(), blank()
    label[:, 30:90] = True
    change[:, 60:110] = True
    gallery = Gallery(1)
    add_image(gallery, "x", label, change)
    (row,) = gallery.rows
    panels = decoded(row)
    assert tuple(panels) == PANELS
    assert {picture.shape for picture in panels.values()} == {(96, 128, 3)}
    assert abs(panels["before"].astype(int) - 50).max() <= 2
    assert abs(panels["after"].astype(int) - 200).max() <= 2
    assert (panels["label"] == label[..., None] * 255).all()
    assert (panels["prediction"] == change[..., None] * 255).all()
    for columns, color in (((60, 90), "hit"), ((90, 110), "false alarm"), ((30, 60), "miss")):
        assert (panels["errors"][:, slice(*columns)] == COLORS[color]).all()
    assert (panels["errors"][:, :30] == 80).all()  # the second date, darker


def test_large_images_shrink_as_a_whole() -> None:
    label, change = blank(700, 1000), blank(700, 1000)
    label[100:300, 200:600] = True
    gallery = Gallery(1)
    add_image(gallery, "x", label, change, 96)  # tiles don't end on whole pixels of the panel
    (row,) = gallery.rows
    picture = decoded(row)["label"]
    assert picture.shape == (358, SIDE, 3)
    assert picture.mean() / 255 == pytest.approx(label.mean(), rel=0.02)
    assert (picture[60:140, 110:300] == 255).all()
    assert (picture[170:] == 0).all()


def write_page(folder: Path, count: int = 2) -> Path:
    gallery, total = Gallery(count), Counts()
    rng = np.random.default_rng(0)
    for index in range(3):
        label, change = (rng.random((96, 128)) < share for share in (0.2, 0.1 * index))
        add_image(gallery, f"tile <{index}> & more", label, change)
        total += Counts.of(change, label)
    gallery.write(folder / "page.html", "m on <data>", {"model": "m & n", "data": "/a/b"}, total, 3)
    return folder / "page.html"


def test_page_is_whole_in_one_file_and_escaped(tmp_path: Path) -> None:
    text = write_page(tmp_path).read_text()
    assert "m on &lt;data&gt;" in text
    assert "tile &lt;2&gt; &amp; more" in text
    assert "<2>" not in text
    assert "The 2 images, of 3, with the most wrong pixels" in text
    assert re.findall(r"<script|<link|https?://|@import|url\(", text) == []
    sources = re.findall(r'src="([^"]{30})', text)
    assert len(sources) == 2 * len(PANELS)
    assert all(source.startswith("data:image/") for source in sources)
    for color in COLORS.values():
        assert "#" + bytes(color).hex() in text  # the legend
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="cannot be written"):
        (tmp_path / "none").write_text("a file")
        Gallery(1).write(tmp_path / "none" / "page.html", "x", {}, Counts(), 0)
    with pytest.raises(ProductError, match="--gallery-count must be at least 1"):
        Gallery(0)


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PROBE = """<script>addEventListener("load", () => {
  const images = [...document.images], wide = document.documentElement.scrollWidth > innerWidth;
  document.title = `decoded ${images.filter(i => i.complete && i.naturalWidth === 128).length} of ${images.length}`
    + (wide ? ", too wide" : "");
});</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium or Chrome is installed to open the page")
@pytest.mark.parametrize("width", [390, 1400])
def test_a_browser_shows_every_picture(tmp_path: Path, width: int) -> None:
    page = write_page(tmp_path)
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    shot = tmp_path / "shot.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars"]
    command = [str(BROWSER), *flags, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1200"]
    done = subprocess.run(
        [*command, "--dump-dom", probed.as_uri()], capture_output=True, text=True, check=False, timeout=120
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    assert title[1] == f"decoded {2 * len(PANELS)} of {2 * len(PANELS)}"
    subprocess.run([*command, f"--screenshot={shot}", page.as_uri()], capture_output=True, check=True, timeout=120)
    picture = cv2.imread(str(shot))
    assert picture is not None
    for color in COLORS.values():
        near = abs(picture[..., ::-1].astype(int) - color).max(axis=2) <= 2
        assert near.sum() > 20  # legend and errors
