"""A part of a scene for each of several machines: which sections it has, and what it needs of those above them."""

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
    """One of several parts of a scene, each a band of whole sections; parts of few sections may be empty.

    Attributes:
        number: from 0, counted from the top.
        count: of parts.
    """

    number: int
    count: int

    def share(
        self, sections: Iterable[Section], finished: Container[Window], batch: int
    ) -> tuple[list[Section], list[Section]]:
        """What is left to do of this part, both in the order of the plan.

        Args:
            sections: all of a scene, see `TilePlan.sections`.
            finished: windows of those that need not be done again.
            batch: tiles per inference.

        Returns:
            The sections to do, and of these the ones that are only context: the row of sections above the part, whose
            edges its uppermost sections are blended with. A part that has none of its uppermost ones left needs none.
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
    """It leaves the edge `below` of the whole section, bit for bit where no tile is inferred together with others."""
    strip = dataclasses.replace(section, down=section.down[-1:], above=None)
    left = section.left
    if left is not None:
        left = Window(left.col_off, strip.window.row_off, left.width, strip.window.height)
    return dataclasses.replace(strip, left=left)


class ContextSink:
    """Passes all but the sections of the context on to another sink; of those it keeps the edges alone, in memory.

    They are the same as in a whole run, though what lies above the context is not known: `below` depends on the lowest
    strip of tiles alone and `beside` on each tile alone, see `blending`.

    Args:
        sink: what takes the other sections.
        context: the sections that another part has.
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
