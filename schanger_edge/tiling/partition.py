"""Dividing a scene among machines: which sections a part has, and what it needs of the sections above."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from schanger_edge.geo.grid import Window
from schanger_edge.tiling.plan import Section
from schanger_edge.tiling.sink import Sink


@dataclasses.dataclass(frozen=True)
class Part:
    """One of several parts of a scene, each a band of whole rows of sections; a part may be empty.

    Attributes:
        number: from 0, counted from the top.
        count: number of parts.
    """

    number: int
    count: int

    def share(
        self, sections: Iterable[Section], finished: Container[Window], batch: int
    ) -> tuple[list[Section], list[Section]]:
        """What is left to do of this part.

        Args:
            sections: all sections of a scene, see `TilePlan.sections`.
            finished: windows of sections that are done.
            batch: tiles per inference.

        Returns:
            The sections to run in the order of the plan, and those among them that are only context: the row of
            sections above the part, whose edges are blended into its top row. No context is needed once the top row
            is finished.
        """
        sections = list(sections)
        tops = sorted({section.window.row_off for section in sections})
        first, end = (len(tops) * number // self.count for number in (self.number, self.number + 1))
        rows = tops[first:end]
        own = {one.window for one in sections if one.window.row_off in rows and one.window not in finished}
        above = tops[first - 1] if first and any(window.row_off == tops[first] for window in own) else None
        todo, context = [], []
        for section in sections:
            if section.blend and section.window.row_off == above:
                context.append(_lowest_strip(section) if batch == 1 else section)
                todo.append(context[-1])
            elif section.window in own:
                todo.append(section)
        return todo, context


def _lowest_strip(section: Section) -> Section:
    """The last strip alone leaves the same bottom edge, bit for bit if each tile is inferred alone (batch 1)."""
    strip = dataclasses.replace(section, down=section.down[-1:], above=None)
    left = section.left
    if left is not None:
        left = Window(left.col_off, strip.window.row_off, left.width, strip.window.height)
    return dataclasses.replace(strip, left=left)


class ContextSink:
    """Forwards sections to another sink, except those of the context: it keeps only their edges, in memory.

    These edges equal those of a whole run although the sections above the context are missing: `bottom` depends only on
    the lowest strip of tiles, and `right` on each tile alone, see `blending`.

    Args:
        sink: takes the other sections.
        context: sections that belong to another part.
    """

    def __init__(self, sink: Sink, context: Sequence[Section]) -> None:
        self._sink = sink
        self._context = {section.window for section in context}
        self._end = context[0].window.row_end
        self._edges: dict[tuple[int, str], NDArray[np.float32]] = {}
        self._at: Window | None = None

    def begin(self, section: Window) -> None:
        self._at = section if section in self._context else None
        if self._at is None:
            self._sink.begin(section)

    def write(self, window: Window, probability: NDArray[np.float32] | None, valid: NDArray[np.bool_]) -> None:
        if self._at is None:
            self._sink.write(window, probability, valid)

    def end(self, edges: Mapping[str, NDArray[np.float32]]) -> None:
        if self._at is None:
            self._sink.end(edges)
        else:
            self._edges |= {(self._at.col_off, name): edge for name, edge in edges.items()}

    def edge(self, section: Window, name: str) -> NDArray[np.float32] | None:
        if section.row_end > self._end:
            return self._sink.edge(section, name)
        return self._edges.pop((section.col_off, name), None) if section.row_end == self._end else None
