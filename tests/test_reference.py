"""docs/reference.md says what the code says."""

from __future__ import annotations

import runpy

from helpers import ROOT


def test_the_page_is_what_the_descriptions_give() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "reference.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "docs/reference.md is old: make reference"
