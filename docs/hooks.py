"""What MkDocs does beyond mkdocs.yml: the README as front page, links out of docs/ to the repository, the records."""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
_log = logging.getLogger("mkdocs.hooks.docs")


def on_config(config: Any) -> Any:
    """The decision records, each under its title, at the end of the navigation."""
    folder = ROOT / "docs" / "decisions"
    records = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    entries: list[Any] = [{"Index": "decisions/README.md"}]
    for path in records:
        title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        entries.append({f"{path.name[:3]} {title}": f"decisions/{path.name}"})
    config.nav.append({"Decisions": entries})
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """The front page is the README, as if it lay in docs/."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = _LINK.sub(lambda link: f"{link[1]}[{link[2]}]({_from_docs(link[3])}{link[4] or ''})", text)
    files.append(File.generated(config, "index.md", content=text))
    return files


def _from_docs(target: str) -> str:
    return posixpath.relpath(target, "docs")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Links that leave docs/ lead to the repository; one that leads to nothing is a warning, which ends the build."""
    folder = posixpath.dirname(page.file.src_uri)

    def rewrite(link: re.Match[str]) -> str:
        picture, text, target, place = link[1], link[2], link[3], link[4] or ""
        inside = posixpath.normpath(posixpath.join("docs", folder, target))
        if inside.startswith("docs/"):
            return link[0]
        if not (ROOT / inside).exists():
            _log.warning("%s links to %s, which is not there", page.file.src_uri, inside)
        kind = "raw" if picture else "blob"
        return f"{picture}[{text}]({config.repo_url}/{kind}/main/{inside}{place})"

    return _LINK.sub(rewrite, markdown)
