"""Peak memory of `schanger-edge run` against the size of the scene, with the timing stand-in network.

`python benchmarks/memory.py` renders a scene of 2048 x 2048, all valid, repeats it to GeoTIFFs of the first size asked
for, and these by VRTs to all sizes, so that 65536 x 65536 needs no disk for its inputs. Each size runs in a fresh
process with all products, whose peak resident memory (VmHWM) is read. The network is one convolution, so that the
largest takes minutes, not an hour. Needs Linux and the `quantize` extra.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from common import peak_memory, repeat_scene, repeat_virtually, save
from standin import timing_model

from schanger_edge.synthetic import write_pair


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[8192, 65536])
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timing_model(folder / "timing.onnx", layers=1)
        scene = write_pair(folder / "scene", width=2048, height=2048, seed=1, nodata_wedge=False)
        real = [repeat_scene(p, folder / p.name, options.sides[0]) for p in (scene.before, scene.after)]
        for side in options.sides:
            pair = [repeat_virtually(p, folder / f"{p.stem}{side}.vrt", side) for p in real]
            megabytes, seconds = peak_memory(
                "run", *pair, "-o", folder / f"out{side}", "--model", folder / "timing.onnx"
            )
            runs.append({"side": side, "peak_mb": round(megabytes, 1), "seconds": round(seconds, 1)})
            sys.stderr.write(f"{runs[-1]}\n")
            shutil.rmtree(folder / f"out{side}")
    save("memory", {"method": __doc__, "runs": runs, "ratio": runs[-1]["peak_mb"] / runs[0]["peak_mb"]})


if __name__ == "__main__":
    main()
