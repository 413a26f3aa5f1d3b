"""XML of other programs' formats, filled into the templates of this room."""

from __future__ import annotations

import functools
import re
from typing import Any

from schanger_edge.geo.vrt import escape, quoted


def rendered(name: str, **values: object) -> str:
    """A template with these values, without the white space between its elements.

    Plain text goes through the filters `text`, in an element, and `quoted`, in an attribute.
    """
    return re.sub(r">\s+<", "><", _environment().get_template(f"{name}.j2").render(values).strip())


@functools.cache
def _environment() -> Any:
    """Templates are compiled once, which takes 5 ms each."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("schanger_edge.products"), undefined=StrictUndefined)
    environment.filters |= {"text": escape, "quoted": quoted}
    return environment
