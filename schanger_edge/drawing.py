"""Pictures by matplotlib: drawn after the results they show are written, and never able to spoil one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schanger_edge.errors import ProductError
from schanger_edge.files import replacing


def draw(path: Path, paint: Callable[[Any], None], **figure: Any) -> str:
    """Write a PNG.

    Args:
        path: the file, replaced where it exists.
        paint: draws on a matplotlib figure.
        figure: size, layout and so on, as of `matplotlib.figure.Figure`.

    Returns:
        A sentence for the user where it could not be drawn, else an empty one.
    """
    try:
        _import_matplotlib()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure  # without pyplot: no window system, no global state

        with replacing(path, ProductError) as temporary:
            drawn = Figure(**figure)
            FigureCanvasAgg(drawn)
            paint(drawn)
            drawn.savefig(temporary, format="png")
    except Exception as error:  # whatever it is, the results are more than their picture
        return f"{path} could not be drawn, but all other results are complete: {type(error).__name__}: {error}"
    return ""


def _import_matplotlib() -> None:
    """Import it even where MPLBACKEND names a backend that is not installed, as in the shells of Jupyter."""
    try:
        import matplotlib
    except ValueError:
        asked = os.environ["MPLBACKEND"]
        os.environ["MPLBACKEND"] = "agg"
        try:
            import matplotlib  # noqa: F401
        finally:
            os.environ["MPLBACKEND"] = asked
