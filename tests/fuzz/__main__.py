"""Mutated inputs, by the thousand: each ends with a result or one sentence, soon, in bounded memory, nothing half done.

`PYTHONPATH=tests python -m fuzz --inputs 2000`; what it finds is met again with `--only KIND:NUMBER` and the same seed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from fuzz import bases
from fuzz.kinds import KINDS
from fuzz.worker import memory, work

MOST_BYTES, MOST_SECONDS = 2 << 30, 60.0
LOOK = 0.05
"""Seconds between two looks at the memory of a worker."""


class Worker:
    """A process that meets one input at a time, and is replaced where one of them ends it."""

    def __init__(self, base: Path, seed: int) -> None:
        self._base, self._seed = base, seed
        self.item: tuple[str, int] | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=work, args=(theirs, self._base, self._seed), daemon=True)
        self._process.start()
        theirs.close()
        self._fresh = True

    def give(self, item: tuple[str, int]) -> None:
        self.item, self._since = item, time.monotonic()
        self.pipe.send(item)

    def found(self) -> tuple[str | None, Any, float, int] | None:
        """The outcome of the input, once there is one."""
        seconds, limit = time.monotonic() - self._since, MOST_SECONDS * _crowd()
        limit *= 3 if self._fresh else 1  # it imports first
        with contextlib.suppress(EOFError, ConnectionResetError):
            if self.pipe.poll():
                self._fresh = False
                return self.pipe.recv()  # type: ignore[no-any-return]
            size = memory("VmRSS", self._process.pid or 0)
            if seconds < limit and size < MOST_BYTES:
                return None
            wrong = f"took {seconds:.0f} s" if size < MOST_BYTES else f"took {size / 1e9:.1f} GB"
            self.end()
            self._start()
            return wrong, None, seconds, size
        self._process.join()
        wrong = f"the process died ({self._process.exitcode})"
        self._start()
        return wrong, None, seconds, 0

    def end(self) -> None:
        self._process.kill()
        self._process.join()


def _crowd() -> float:
    """By how much everything takes longer because others work on this machine too."""
    return max(os.getloadavg()[0] / len(os.sched_getaffinity(0)), 1.0)


def fuzz(items: list[tuple[str, int]], seed: int, processes: int) -> list[str]:
    """Meet all of these; sentences on those that went wrong."""
    faults, slowest, largest, ends = list[str](), (0.0, ""), (0, ""), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        base = Path(scratch) / "base"
        base.mkdir()
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            bases.make(base, trained=any(kind == "checkpoint" for kind, _ in items))
        workers, waiting = [Worker(base, seed) for _ in range(min(processes, len(items)))], items[::-1]
        for worker in workers:
            worker.give(waiting.pop())
        while busy := [worker for worker in workers if worker.item]:
            wait([worker.pipe for worker in busy], LOOK)
            for worker in busy:
                if (found := worker.found()) is None:
                    continue
                wrong, command, seconds, size = found
                assert worker.item
                name = "{}:{}".format(*worker.item)
                ends[worker.item[0]] += 1
                slowest, largest = max(slowest, (seconds, name)), max(largest, (size, name))
                if size > MOST_BYTES and not wrong:
                    wrong = f"took {size / 1e9:.1f} GB"
                if wrong:
                    faults.append(f"--seed {seed} --only {name}: {' '.join(command or ())}\n{wrong}")
                    print(faults[-1], flush=True)
                worker.item = None
                if waiting:
                    worker.give(waiting.pop())
        for worker in workers:
            worker.end()
    print(f"{sum(ends.values())} inputs ({', '.join(f'{n} {kind}' for kind, n in ends.items())}), {len(faults)} faults")
    print(
        f"most processor time {slowest[0]:.0f} s ({slowest[1]}), most memory {largest[0] / 1e9:.2f} GB ({largest[1]})",
        flush=True,
    )
    return faults


def main() -> None:
    """Read the command line; exit code 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000, help="in all, shared by the kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one input")
    parser.add_argument("--processes", type=int, default=min(4, len(os.sched_getaffinity(0))))
    asked = parser.parse_args()
    kinds = asked.kinds.split(",")
    items = [(kinds[n % len(kinds)], n // len(kinds)) for n in range(asked.inputs)]
    if asked.only:
        kind, _, number = asked.only.partition(":")
        items = [(kind, int(number))]
    sys.exit(bool(fuzz(items, asked.seed, asked.processes)))


if __name__ == "__main__":
    main()
