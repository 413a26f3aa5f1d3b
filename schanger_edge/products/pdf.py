"""The report as a PDF, printed by the Chromium or Chrome of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schanger_edge.errors import ProductError
from schanger_edge.files import reading, writing
from schanger_edge.products.product import Product

PRODUCT = Product("report.pdf", "The report, for printing", "report_pdf", "application/pdf", "overview")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_ELSEWHERE = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
_SECONDS = 600
_READY_MS = 600_000  # of the page's own time, which stands still while pictures are decoded
_EMBEDDED = '<script type="application/json" id="decisions">{}</script>'


def find_browser() -> str:
    """The browser that prints.

    Raises:
        ProductError: none is installed.
    """
    found = next(filter(None, map(shutil.which, (*_NAMES, *_ELSEWHERE))), None)
    if found is None:
        raise ProductError(
            "no Chromium or Chrome was found to write report.pdf: install one, or open report.html in any browser and "
            "print it from there."
        )
    return found


def write_pdf(report: Path, target: Path, decisions: Mapping[str, Any] | None) -> None:
    """Print a report with what was decided on its changes; the rejected ones are left out.

    Args:
        report: report.html of the run.
        target: file to write.
        decisions: the content of decisions.json; None: nothing was reviewed.

    Raises:
        ProductError: no browser is installed, or it failed.
    """
    browser, empty = find_browser(), _EMBEDDED.format("null")
    with reading(report):
        page = report.read_text(encoding="utf-8")
    if page.count(empty) != 1:
        raise ProductError(f"{report} was made by another version: run the detection again.")
    text = json.dumps(decisions).replace("<", "\\u003c")  # nothing in it ends the element
    with tempfile.TemporaryDirectory(prefix=".schanger-edge.pdf.", dir=target.parent) as made:
        copy, printed = Path(made) / "report.html", Path(made) / "report.pdf"
        with writing(target):
            copy.write_text(page.replace(empty, _EMBEDDED.format(text)), encoding="utf-8")
        flags = [
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--virtual-time-budget={_READY_MS}",
            f"--user-data-dir={Path(made) / 'profile'}",
            f"--print-to-pdf={printed}",
        ]
        if getattr(os, "geteuid", lambda: 1)() == 0:  # as root it starts only so; it opens nothing but our own page
            flags.append("--no-sandbox")
        _call([browser, *flags, f"{copy.absolute().as_uri()}#print"], printed)
        with writing(target):
            os.replace(printed, target)


def _call(command: list[str], printed: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"not done after {_SECONDS} s"
    except OSError as error:
        reason = error.strerror or str(error)
    if not printed.is_file() or not printed.read_bytes().rstrip().endswith(b"%%EOF"):
        raise ProductError(
            f"{command[0]} could not write report.pdf ({reason}): open report.html in any browser, and print it there."
        )
