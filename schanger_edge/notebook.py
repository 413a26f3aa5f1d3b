"""Results as a notebook shows them."""

from __future__ import annotations

import base64
import contextlib
import html
from collections.abc import Iterable
from pathlib import Path

SIDE = 512
"""Pixels of a picture's longer side."""


def page_piece(title: str, words: str, warnings: Iterable[str] = (), picture: Path | None = None) -> str:
    """HTML of a result: what it is, how it came out, what is doubtful, and a picture where it can be read."""
    doubts = "".join(f"<li>{html.escape(text)}</li>" for text in warnings)
    shown = _small(picture) if picture is not None else ""
    return (
        f"<div><b>{html.escape(title)}</b><br>{html.escape(words)}{f'<ul>{doubts}</ul>' if doubts else '<br>'}"
        f"{f'<img alt=preview src=data:image/jpeg;base64,{shown}>' if shown else ''}</div>"
    )


def _small(picture: Path) -> str:
    """A picture as a small JPEG in base64; empty where it is gone."""
    import cv2
    import numpy as np

    with contextlib.suppress(OSError, cv2.error):
        image = np.asarray(cv2.imdecode(np.fromfile(picture, np.uint8), cv2.IMREAD_COLOR))
        scale = min(1.0, SIDE / max(image.shape[:2]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return base64.b64encode(cv2.imencode(".jpg", image)[1].tobytes()).decode()
    return ""
