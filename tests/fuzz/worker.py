"""A process that meets mutated inputs one after the other, through the command line, and judges how each ended."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fuzz.bases import run_main
from fuzz.kinds import altered, complaint

FAILED_PAIRS = 1
"""Exit code of a batch some of whose pairs failed."""


def verdict(command: list[str], folder: Path) -> str | None:
    """Run one command in this process; what is wrong with how it ended, or None."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run_main(command)
        except Exception:
            return traceback.format_exc()
    err.flush()
    told = err.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    lines = told.strip().splitlines()
    if "Traceback (most recent call last)" in told:
        return told
    errors = [number for number, line in enumerate(lines, 1) if line.startswith("error: ")]
    if code == 2 and errors != [len(lines)]:
        return f"exit code 2 without one sentence: {told[-500:]}"
    if code not in (0, 2) and not (code == FAILED_PAIRS and command[0] == "batch"):
        return f"exit code {code}: {told[-500:]}"
    return complaint(folder) or None


def work(pipe: Connection, base: Path, seed: int) -> None:
    """Meet inputs that are named over a pipe, one after the other."""
    with contextlib.ExitStack() as stack:
        scheduler: str | None = None
        while (item := pipe.recv()) is not None:
            kind, number = item
            folder = Path(tempfile.mkdtemp(prefix=f"{kind}-{number}-", dir=base.parent))
            command = altered(kind, number, seed, base, folder)
            if command[0] == "batch":
                scheduler = scheduler or stack.enter_context(_scheduler())
                command += ["--scheduler", scheduler]
            began = time.process_time()
            _forget_peak()
            wrong = verdict(command, folder)
            pipe.send((wrong, command, time.process_time() - began, memory("VmHWM")))
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _scheduler() -> Iterator[str]:
    """A cluster of this process alone, so that a list of pairs costs no processes."""
    from distributed import LocalCluster

    how: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "memory_limit": 0}
    with LocalCluster(dashboard_address=None, silence_logs=logging.CRITICAL, protocol="tcp://", **how) as cluster:
        yield cluster.scheduler_address


def _forget_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory(field: str, pid: int | str = "self") -> int:
    """Bytes, as the kernel counts them; 0 where it does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) << 10
    return 0
