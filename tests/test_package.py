"""What a package index will show: the metadata, and a README whose links lead somewhere from there."""

from __future__ import annotations

import re
import sys
from typing import Any

from helpers import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LINK = re.compile(r"\]\(([^)]+)\)")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def readme_there() -> str:
    """The README as the build hook writes it."""
    hook = pyproject()["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / fragment["path"]).read_text(encoding="utf-8") for fragment in hook["fragments"])
    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_every_link_of_the_readme_is_absolute_there() -> None:
    repository = pyproject()["project"]["urls"]["Repository"]
    here, there = (LINK.findall(text) for text in ((ROOT / "README.md").read_text(encoding="utf-8"), readme_there()))
    assert len(there) == len(here) > 20
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme_there())
    assert len(pictures) == 5
    for before, after in zip(here, there, strict=True):
        kind = "raw" if after in pictures else "blob"
        assert after == (before if "://" in before else f"{repository}/{kind}/main/{before}")


def test_the_repository_is_named_the_same_everywhere() -> None:
    urls = pyproject()["project"]["urls"]
    for url in (urls["Issues"], urls["Changelog"]):
        assert url.startswith(f"{urls['Repository']}/")
    for page in ("mkdocs.yml", "CITATION.cff"):
        assert urls["Repository"] in (ROOT / page).read_text(encoding="utf-8"), page


def test_the_licence_of_the_weights_is_told() -> None:
    project = pyproject()["project"]
    code, weights = project["license"].split(" AND ")
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert code == "Apache-2.0"
    assert weights in notice
    assert set(project["license-files"]) == {"LICENSE", "NOTICE"}
    assert list(ROOT.glob("schanger_edge/model/*.onnx"))  # what the notice is about
    for package in ("schanger_edge", "export/schanger_export"):
        assert (ROOT / package / "py.typed").exists()  # Typing :: Typed
