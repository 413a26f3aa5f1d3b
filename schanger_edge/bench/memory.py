"""Peak memory of a model at a batch size, in a process of its own: a process knows only the peak of its whole life.

`python -m schanger_edge.bench.memory MODEL DEVICE BATCH` is that process and prints JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from schanger_edge.bench.method import tiles_for
from schanger_edge.host import board
from schanger_edge.host.nvml import Nvml
from schanger_edge.sessions import open_session

RUNS = 3


def peak_memory(model: Path, device: str, batch_size: int) -> dict[str, Any]:
    """Measure in a fresh process.

    Returns:
        `host_bytes` and `device_bytes`, None where not measured; or `failed`, why the process ended.
    """
    command = [sys.executable, "-m", "schanger_edge.bench.memory", str(model.absolute()), device, str(batch_size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        return {"failed": f"its process was killed by signal {-done.returncode}, most likely out of memory"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1] if lines else f"its process exited with code {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(model: Path, device: str, batch_size: int) -> dict[str, int | None]:
    """Load and run a model in this process, which must have done nothing else."""
    nvml = Nvml.open(device)
    used = [nvml.used_bytes()]
    with open_session(model, device) as session:
        tiles = tiles_for(session.card.tile, batch_size)
        for _ in range(RUNS):
            session.run(*tiles)
            used.append(nvml.used_bytes())
    known = [value for value in used if value is not None]
    grown = max(known) - known[0] if len(known) > 1 else None
    return {"host_bytes": _peak_host_bytes(), "device_bytes": grown}


def _peak_host_bytes() -> int | None:
    """None on Windows."""
    peak = board.peak_memory(Path("/"))
    if peak is not None:
        return peak
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))) + "\n")
