"""The time from a start to the end or to an interruption, and the machine's conditions at both."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

from schanger_edge.bench import parts
from schanger_edge.bench.energy import Meters, used
from schanger_edge.bench.state import State
from schanger_edge.host.conditions import conditions
from schanger_edge.host.nvml import Nvml

IDLE_SECONDS = 3.0


class Sitting:
    """Begins when it is made; kept among the parts at once, so that an interrupted one is known too."""

    def __init__(self, state: State, nvml: Nvml | None, meters: Sequence[Meters]) -> None:
        self._state, self._nvml = state, nvml
        self._earlier = state.get(parts.SITTINGS) or []
        now = conditions(nvml=nvml)
        self._own = {"began": _now(), "before": now, "idle_watts": _idle_watts(meters), "ended": _now(), "after": now}
        self._keep()

    def goes_on(self) -> None:
        """A stage has ended."""
        self._own |= {"ended": _now(), "after": conditions(nvml=self._nvml)}
        self._keep()

    def _keep(self) -> None:
        self._state.put(parts.SITTINGS, [*self._earlier, self._own])


def _idle_watts(meters: Sequence[Meters]) -> dict[str, float]:
    """By what the meters cover, over a few seconds in which nothing is done."""
    before = {meter.covers: meter.joules() for meter in meters if meter.covers}
    if not before:
        return {}
    time.sleep(IDLE_SECONDS)
    spent = {meter.covers: used(before[meter.covers], meter.joules()) for meter in meters if meter.covers}
    return {covers: joules / IDLE_SECONDS for covers, joules in spent.items() if joules is not None}


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
