"""Memory while a scene of 100,000 x 100,000 pixels is read: DESIGN.md says that it doesn't grow with the scene."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

SIDE, TILE = 100_000, 256
FIRST, LAST = 10, 40  # sections of 8,192 columns: the second row of strips begins after about five
MOST, GROWTH = 600, 40  # MB


def write_huge(path: Path) -> Path:
    """A GeoTIFF whose tiles all lie at one place of the file, so that it takes 1.4 MB."""
    pixels = np.random.default_rng(0).integers(1, 255, (TILE, TILE, 3), np.uint8)
    data = zlib.compress(pixels.tobytes())
    data += bytes(len(data) % 2)
    count = (-(-SIDE // TILE)) ** 2
    offsets = 8 + len(data)
    sizes = offsets + 4 * count
    bits = sizes + 4 * count
    scale, tie, keys = bits + 6, bits + 30, bits + 78
    directory = keys + 32
    geokeys = struct.pack("<16H", 1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32631)
    entries = [
        (256, 4, 1, SIDE), (257, 4, 1, SIDE), (258, 3, 3, bits), (259, 3, 1, 8), (262, 3, 1, 2), (277, 3, 1, 3),
        (284, 3, 1, 1), (322, 4, 1, TILE), (323, 4, 1, TILE), (324, 4, count, offsets), (325, 4, count, sizes),
        (33550, 12, 3, scale), (33922, 12, 6, tie), (34735, 3, 16, keys),
    ]  # fmt: skip
    with path.open("wb") as file:
        file.write(b"II*\0" + struct.pack("<I", directory) + data)
        file.write(np.full(count, 8, "<u4").tobytes() + np.full(count, len(data), "<u4").tobytes())
        file.write(struct.pack("<3H3d6d", 8, 8, 8, 0.5, 0.5, 0, 0, 0, 0, 500_000, 4_650_000, 0) + geokeys)
        file.write(struct.pack("<H", len(entries)))
        for entry in entries:
            file.write(struct.pack("<HHII", *entry))
        file.write(bytes(4))
    return path


SCRIPT = """
import sys
from types import SimpleNamespace
import numpy as np
from schanger_edge.errors import StoppedError
from schanger_edge.run.predict import Todo, predict
from schanger_edge.scene import open_pair

path, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
normalization = SimpleNamespace(mean_colors=((1, 2, 3), (4, 5, 6)))
card = SimpleNamespace(tile=256, halo=32, normalization=normalization)
zeros = np.zeros((4, 1, 256, 256), np.float32)
session = SimpleNamespace(
    card=card, slots=2, max_batch=None, identity=lambda: {"plan": None}, submit=lambda a, b: lambda: zeros[: len(a)]
)

class Sink:
    ended = 0

    def begin(self, section): ...
    def write(self, window, probability, valid): ...
    def edge(self, section, name): ...

    def end(self, edges):
        self.ended += 1
        if self.ended in (first, last):
            print(int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6)

sink = Sink()
with open_pair(path, path) as pair:
    pair.statistics()
    try:
        predict(pair, session, sink, batch_size=4, todo=Todo(stop=lambda: sink.ended >= last))
    except StoppedError:
        pass
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_memory_does_not_grow_with_the_scene(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(write_huge(tmp_path / "huge.tif")), str(FIRST), str(LAST)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert found.returncode == 0, found.stderr
    early, late = (float(line) for line in found.stdout.split())
    assert late < MOST
    assert late - early < GROWTH
