"""What blocks of figures are made of: results as they were measured, numbers, paragraphs and tables in Markdown."""

from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
WIDTH = 120


@functools.cache
def result(name: str) -> Any:
    """What a benchmark wrote."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def of_earlier_weights(sha256: str) -> str:
    """A sentence where the bundled model has other weights since."""
    same = sha256 == result("schanger-small-accuracy")["weights_sha256"]
    return "" if same else " F1 is that of the weights which were bundled before these."


def fixed(value: float, digits: int = 0) -> str:
    """A number with so many digits after the point, halves rounded away from zero."""
    return str(Decimal(str(value)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))


def percent(share: float, digits: int = 1) -> str:
    """A share of 0-1 in percent, without the sign."""
    return fixed(float(Decimal(str(share)) * 100), digits)


def paragraph(text: str) -> str:
    """Prose as wide as the pages."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def significant(value: float) -> str:
    """A small number with two significant digits."""
    return f"{Decimal(f'{value:.1e}'):f}"


def machines(*names: str) -> str:
    """The machines and ONNX Runtimes of these results, in words."""
    environments = [result(name)["environment"] for name in names]
    found = {f"{e['cores']} cores of an {e['device']}, ONNX Runtime {short(e['onnxruntime'])}" for e in environments}
    return "; ".join(sorted(found))


def short(version: str) -> str:
    """1.32.0 -> 1.32."""
    return ".".join(version.split(".")[:2])
