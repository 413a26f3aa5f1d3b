"""A command per result: arguments, never a shell."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from schanger_edge.errors import SchangerError
from schanger_edge.watch.ledger import Job

PLACEHOLDERS = ("{result}", "{before}", "{after}", "{name}")


def check_hook(command: Sequence[str]) -> None:
    """Raise a SchangerError where there is no such program."""
    if command and shutil.which(command[0]) is None:
        raise SchangerError(f"--hook: there is no program {command[0]}: give its path, and make it executable.")


def run_hook(command: Sequence[str], job: Job, result: Path, inbox: Path, timeout: float) -> str | None:
    """Run the hook on a result and wait for it.

    Args:
        command: program and arguments, in which each of `PLACEHOLDERS` is replaced.
        job: the pair.
        result: its folder.
        inbox: where its scenes lie.
        timeout: seconds after which the hook and all that it started is killed.

    Returns:
        Why it failed, in a sentence; None where it did not.
    """
    values = (result.absolute(), (inbox / job.before.name).absolute(), (inbox / job.after.name).absolute(), job.name)
    arguments = [_filled(argument, dict(zip(PLACEHOLDERS, map(str, values), strict=True))) for argument in command]
    own = {"start_new_session": True} if os.name == "posix" else {}
    try:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=2, **own)  # type: ignore[call-overload]
    except OSError as error:
        return f"the hook {command[0]} could not be started ({error.strerror}): make it executable."
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        return f"the hook {command[0]} took longer than {timeout:g} s and was killed: see --hook-timeout."
    return f"the hook {command[0]} ended with exit code {code}: see what it wrote to the log." if code else None


def _filled(argument: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        argument = argument.replace(placeholder, value)
    return argument
