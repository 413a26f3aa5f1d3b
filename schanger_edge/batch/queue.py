"""Work goes to the cluster, outcomes come back: as many pairs at a time as there are workers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker

from schanger_edge.batch.outcome import Outcome, failed
from schanger_edge.batch.worker import PARTS, Work, run_pair, run_part
from schanger_edge.errors import SchangerError
from schanger_edge.products.journal import unfinished
from schanger_edge.tiling.partition import Part

Failed = Callable[[Outcome, BaseException], None]


class Queue:
    """Pairs that wait for a worker.

    No more are handed out than there are workers: so one that dies takes no pair with it but its own, and the scheduler
    doesn't hold long lists. What becomes of a pair that is handed out is Dask's to see to.

    Args:
        client: of the cluster.
        retries: how often a pair that fails is tried again.
        split: divide each scene into as many parts as there are workers.
    """

    def __init__(self, client: Client, *, retries: int, split: bool) -> None:
        self._client, self._retries, self._split = client, retries, split

    def run(self, works: Sequence[Work]) -> Iterator[tuple[Outcome, BaseException | None]]:
        """Outcomes in the order in which they come, each with the error where it failed."""
        waiting, under_way = deque(works), as_completed()
        of_key: dict[Any, Work] = {}
        while waiting or not under_way.is_empty():
            while waiting and under_way.count() < self._slots():
                work = waiting.popleft()
                future = self._submit(work)
                of_key[future.key] = work
                under_way.add(future)
            future = next(under_way)
            work = of_key.pop(future.key)
            if future.cancelled():
                raise SchangerError("the scheduler was lost: what is finished is kept, the same command goes on.")
            error = future.exception()
            yield (future.result(), None) if error is None else (failed(work.pair, self._reason(error)), error)

    def _slots(self) -> int:
        """A scene that is split has all workers to itself."""
        return 1 if self._split else max(self._workers(), 1)

    def _workers(self) -> int:
        return len(self._client.nthreads())

    def _submit(self, work: Work) -> Future[Outcome]:
        parts = [
            self._client.submit(run_part, work, part, retries=self._retries, pure=False) for part in self._parts(work)
        ]
        return self._client.submit(run_pair, work, parts, retries=self._retries, pure=False)

    def _parts(self, work: Work) -> list[Part]:
        """In how many parts a scene is done: as an earlier batch began it."""
        begun = [path.name for path in (work.folder / PARTS).glob("*-of-*")]
        if unfinished(work.folder) or not (begun or self._split):
            return []
        found = re.search(r"\d+$", begun[0]) if begun else None
        count = int(found[0]) if found else max(self._workers(), 1)
        return [Part(number, count) for number in range(count)] if count > 1 else []

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, KilledWorker):
            return f"{error.allowed_failures + 1} workers died of it: look at their logs, and at the memory they had."
        times = f"tried {self._retries + 1} times: " if self._retries else ""
        if isinstance(error, SchangerError):
            return f"{times}{error}"
        return f"{times}{type(error).__name__}: {error}"
