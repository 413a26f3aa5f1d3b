"""Peak memory of `schanger-edge run` against the size of the scene, with the timing stand-in network.

`python benchmarks/memory.py` renders a scene, repeats it to the sizes asked for, runs each in a fresh process with
all products, and reads the process's peak resident memory (ru_maxrss). Needs Linux and the `quantize` extra.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from common import peak_memory, repeat_scene, save
from standin import timing_model

from schanger_edge.synthetic import write_pair


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 16384])
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timing_model(folder / "timing.onnx")
        scene = write_pair(folder / "scene", width=2048, height=2048, seed=1, nodata_wedge=False)
        for side in options.sides:
            pair = [repeat_scene(p, folder / f"{p.stem}{side}.tif", side) for p in (scene.before, scene.after)]
            megabytes, seconds = peak_memory(
                "run", *pair, "-o", folder / f"out{side}", "--model", folder / "timing.onnx"
            )
            runs.append({"side": side, "peak_mb": round(megabytes, 1), "seconds": round(seconds, 1)})
            for path in pair:
                path.unlink()
    save("memory", {"method": __doc__, "runs": runs, "ratio": runs[-1]["peak_mb"] / runs[0]["peak_mb"]})


if __name__ == "__main__":
    main()
