"""`watch` through a storm: bursts, partial writes, duplicates, corrupt files, a full disk, kill -9.

Small scenes of several places are dropped into an inbox, one date of all places per burst, in random order: some
written in pieces, some under a `.part` name first, some sent again; among them copies under other names, files that are
damaged in several ways, and `.part` files that never end. Meanwhile the watch is killed with SIGKILL at random moments
and started again, and its disk, a small tmpfs, is filled to the last byte for a while (needs root on Linux). At the end
every pair of neighbouring dates must have been published once, with the bytes of `detect` on the same two files, and
every bad file must lie in quarantine with its reason. The network is the exact stand-in.
`python benchmarks/watch_storm.py --files 200 --kills 5` writes `results/watch_storm.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storm_files import SETTLE, Dropper

DISK = 256 << 20
WAIT = 1800.0
"""Seconds after which the storm gives up waiting."""


class Service:
    """The watch as a process that is killed and started again."""

    def __init__(self, inbox: Path, output: Path, model: Path, log: Path) -> None:
        self._command = [
            sys.executable, "-m", "schanger_edge", "watch", str(inbox), "--output", str(output), "--model", str(model),
            "--device", "cpu", "--threads", "1", "--settle", f"{SETTLE}s", "--poll", "0.5s", "--min-free", "0",
        ]  # fmt: skip
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        """With SIGKILL, then start again; an end of its own would be a fault."""
        assert self._process is not None
        self.check()
        self._process.kill()
        self._process.wait()
        self.start()

    def check(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(
                f"the watch ended with code {self._process.returncode}:\n{self._log.read_text()[-2000:]}"
            )

    def stop(self) -> int:
        """By SIGTERM; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(WAIT)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def says(self, text: str) -> int:
        return self._log.read_text().count(text)


class Reader(threading.Thread):
    """One who reads results as they appear: each must be whole at once, and never change."""

    def __init__(self, results: Path) -> None:
        super().__init__(daemon=True)
        self._results, self._done = results, threading.Event()
        self._seen: dict[str, tuple[int, int]] = {}
        self.incomplete: set[str] = set()
        self.changed: set[str] = set()

    def run(self) -> None:
        from schanger_edge.products.register import STANDARD_NAMES as STANDARD

        while not self._done.wait(0.05):
            if not self._results.is_dir():
                continue
            for folder in list(self._results.iterdir()):
                if not all((folder / name).is_file() for name in STANDARD):
                    self.incomplete.add(folder.name)
                    continue
                stat = (folder / "summary.json").stat()
                identity = (stat.st_ino, stat.st_mtime_ns)
                if self._seen.setdefault(folder.name, identity) != identity:
                    self.changed.add(folder.name)

    def finish(self) -> None:
        self._done.set()
        self.join()


@contextlib.contextmanager
def small_disk(folder: Path, wanted: bool) -> Iterator[None]:
    """A tmpfs of `DISK` bytes on the folder."""
    if wanted:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        if wanted:
            subprocess.run(["umount", str(folder)], check=True)


def fill(output: Path) -> Path:
    """A file that takes all room there is."""
    filler = output / "filler"
    with open(filler, "wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    return filler


def storm(
    folder: Path, model: Path, *, files: int, places: int, kills: int, full_disk: bool, seed: int = 0
) -> dict[str, Any]:
    """Let it storm; counts, and what went wrong (empty where all is well)."""
    rng = random.Random(seed)
    inbox, output, scratch = folder / "inbox", folder / "out", folder / "scratch"
    for path in (inbox, output, scratch):
        path.mkdir(parents=True)
    dropper = Dropper(inbox, scratch, rng)
    dates = max(files * 3 // 4 // places, 2)
    extras = [(files - dates * places) * (k + 1) // dates - (files - dates * places) * k // dates for k in range(dates)]
    kill_at = sorted(rng.sample(range(1, dates), min(kills, dates - 1)))
    service = Service(inbox, output, model, folder / "watch.log")
    reader = Reader(output / "results")
    killed, full, began = 0, 0.0, time.monotonic()
    with small_disk(output, full_disk), contextlib.ExitStack() as stack:
        stack.callback(service.end)
        service.start()
        reader.start()
        for date in range(1, dates + 1):
            dropper.burst(places, date, extras[date - 1])
            time.sleep(SETTLE * rng.uniform(0.2, 1.5))
            if date in kill_at:
                service.kill()
                killed += 1
            if full_disk and date == dates // 2:
                full = _fill_until_paused(service, output)
            if date % 3 == 0:
                dropper.send_again()
                time.sleep(SETTLE)
        while killed < kills:
            time.sleep(rng.uniform(0, 5))
            service.kill()
            killed += 1
        expected = {
            Path(name).stem: (inbox / dropper.good[place, date - 1], inbox / name)
            for (place, date), name in dropper.good.items() if date > 1
        }  # fmt: skip
        _wait_for_all(service, output, len(expected), dropper)
        lasted = time.monotonic() - began
        code = service.stop()
        reader.finish()
        return {
            "files": len(dropper.good) + len(dropper.bad) + len(dropper.copies) + len(dropper.unfinished),
            "good": len(dropper.good), "bad": len(dropper.bad), "copies": len(dropper.copies),
            "unfinished": len(dropper.unfinished), "written_in_pieces": dropper.pieces,
            "sent_again": dropper.sent_again, "pairs": len(expected), "kills": killed,
            "full_disk_seconds": round(full, 1) if full_disk else None, "seconds": round(lasted, 1),
            "exit_code_after_sigterm": code, "seen_incomplete": sorted(reader.incomplete),
            "published_again": sorted(reader.changed), **_faults(inbox, output, model, dropper, expected, folder),
        }  # fmt: skip


def _fill_until_paused(service: Service, output: Path) -> float:
    """Fill the disk until the watch has said that it pauses, and a little longer; seconds it was full."""
    began, before = time.monotonic(), service.says("paused:")
    filler = fill(output)
    while service.says("paused:") == before:
        _check_time(began, "the watch did not pause on a full disk")
        service.check()
        time.sleep(0.2)
    time.sleep(2)
    filler.unlink()
    return time.monotonic() - began


def _wait_for_all(service: Service, output: Path, pairs: int, dropper: Dropper) -> None:
    from schanger_edge.errors import SchangerError
    from schanger_edge.watch import status

    began = time.monotonic()
    while True:
        service.check()
        try:
            counts = status(output).counts
        except SchangerError:  # it has not begun its ledger yet
            counts = dict.fromkeys(("queued", "looking", "done", "quarantined", "duplicate"), 0)
        busy = counts["queued"] or counts["looking"] or counts["done"] < pairs
        if not busy and counts["quarantined"] >= len(dropper.bad) and counts["duplicate"] >= len(dropper.copies):
            return
        _check_time(began, f"not all was done in time: {counts}")
        time.sleep(0.5)


def _check_time(began: float, complaint: str) -> None:
    if time.monotonic() - began > WAIT:
        raise RuntimeError(complaint)


def _faults(
    inbox: Path, output: Path, model: Path, dropper: Dropper, expected: dict[str, tuple[Path, Path]], folder: Path
) -> dict[str, Any]:
    """What differs from what must be; all of it empty where all is well.

    A pair is known by the content of its files: which of two copies is the scene, and names the result, may differ.
    """
    from kill_resume import content

    from schanger_edge import detect
    from schanger_edge.sessions import open_session

    published: dict[tuple[str, str], list[Path]] = {}
    for path in sorted((output / "results").iterdir()):
        told = json.loads((path / "pair.json").read_text())
        published.setdefault((told["before"]["sha256"], told["after"]["sha256"]), []).append(path)
    missing, twice, differing = [], [], []
    with open_session(model, "cpu", 1) as session:
        for name, pair in sorted(expected.items()):
            before, after = (hashlib.sha256(path.read_bytes()).hexdigest() for path in pair)
            found = published.pop((before, after), [])
            if not found:
                missing.append(name)
                continue
            if len(found) > 1:
                twice.append(name)
            detect(*pair, folder / "again", session=session)
            if content(found[0]) != content(folder / "again"):
                differing.append(name)
    quarantine = output / "quarantine"
    reasons = {path.name.removesuffix(".reason.txt"): path.read_text() for path in quarantine.glob("*.reason.txt")}
    whole = {path.name for path in quarantine.iterdir() if not path.name.endswith(".reason.txt")}
    return {
        "missing": missing, "published_twice": twice, "differing_from_run": differing,
        "unexpected": sorted(path.name for paths in published.values() for path in paths),
        "bad_without_reason": sorted(name for name in dropper.bad if not reasons.get(name, "").strip()),
        "bad_not_moved": sorted(name for name in dropper.bad if name not in whole or (inbox / name).exists()),
        "good_in_quarantine": sorted((whole | reasons.keys()) - set(dropper.bad)),
        "good_lost": sorted(
            name for name in [*dropper.good.values(), *dropper.copies, *dropper.unfinished]
            if not (inbox / name).exists()
        ),
        "left_in_work": sorted(path.name for path in (output / "work").iterdir()),
    }  # fmt: skip


FAULTS = (
    "seen_incomplete", "published_again", "missing", "published_twice", "unexpected", "differing_from_run",
    "bad_without_reason", "bad_not_moved", "good_in_quarantine", "good_lost", "left_in_work",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--places", type=int, default=15)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from common import save
    from standin import integer_model

    if os.name != "posix" or os.geteuid() != 0:
        parser.error("the full disk is a small tmpfs, which only root may mount.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        integer_model(folder / "model.onnx", radius=1, tile=64, halo=4)
        result = storm(
            folder / "storm", folder / "model.onnx", files=options.files, places=options.places, kills=options.kills,
            full_disk=True, seed=options.seed,
        )  # fmt: skip
    save("watch_storm", {"method": __doc__, **result})
    faults = {fault: result[fault] for fault in FAULTS if result[fault]}
    if faults or result["exit_code_after_sigterm"]:
        raise SystemExit(f"not all is well: {faults}, exit code {result['exit_code_after_sigterm']}")


if __name__ == "__main__":
    main()
