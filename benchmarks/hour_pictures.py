"""Pictures for somebody to look at, of what a first hour leaves: the report, its print, the map in QGIS, the site."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pypdfium2
from browser import BROWSER, Page
from PIL import Image
from qgis_user import CLEAN, PYTHON, has_qgis

TESTS = Path(__file__).parent.parent / "tests"
DARK = [{"name": "prefers-color-scheme", "value": "dark"}]
PAGES = ("index", "gallery/index", "notebook/index", "figures/index", "qgis/index")
"""Of the site."""


def take(result: Path, site: Path, folder: Path) -> None:
    """All pictures of a result with a printed review, and of the site, as PNG files in a folder."""
    if BROWSER:
        with tempfile.TemporaryDirectory() as profile, Page(Path(profile)) as page:
            of_report(page, result / "report.html", folder)
            assert page.problems == [], page.problems  # the site asks elsewhere for its stars
            page.resize(1400, 900)
            for name in PAGES:
                page.load(site / f"{name}.html")
                save(page, folder / f"site-{name.removesuffix('/index')}.png")
        of_print(result / "report.pdf", folder)
    if has_qgis():
        command = [PYTHON, TESTS / "qgis_look.py", result, folder / "qgis.png", folder / "qgis-all-layers.png"]
        subprocess.run(command, check=True, env=CLEAN, stdout=subprocess.DEVNULL)


def of_report(page: Page, report: Path, folder: Path) -> None:
    """On a desktop, light and dark, and on a phone, with its list open and closed."""
    page.open(report)
    save(page, folder / "report-desktop.png")
    page.press("n")
    save(page, folder / "report-change.png")
    page.call("Emulation.setEmulatedMedia", features=DARK)
    page.settle()
    save(page, folder / "report-dark.png")
    page.call("Emulation.setEmulatedMedia", features=[])
    page.resize(390, 844, ratio=2, touch=True)
    page.open(report)
    save(page, folder / "report-phone.png")
    page.value("setSheet(true)")
    page.settle()
    save(page, folder / "report-phone-list.png")


def of_print(printed: Path, folder: Path) -> None:
    """The first pages, at 96 dots per inch."""
    with pypdfium2.PdfDocument(printed) as document:
        for index in range(min(3, len(document))):
            document[index].render(scale=96 / 72).to_pil().save(folder / f"print-{index + 1}.png")


def save(page: Page, path: Path) -> None:
    Image.fromarray(page.screenshot()).save(path)
