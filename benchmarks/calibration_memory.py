"""Peak memory of `schanger-edge calibrate` against the number of samples.

`python benchmarks/calibration_memory.py MODEL --pairs SOURCE`: calibrates with 32 and with 512 samples, each in a fresh
process, and reads the process's peak resident memory (VmHWM). Needs Linux and the `quantize` extra.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from common import peak_memory, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--pairs", required=True, help="a source with at least 576 tiles")
    parser.add_argument("--samples", type=int, nargs="+", default=[32, 512])
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for samples in options.samples:
            megabytes, seconds = peak_memory(
                "calibrate", options.model, "--data", options.pairs, "--tiles", str(samples),
                "--method", "percentile", "--max-f1-loss", "100", "-o", Path(folder) / "int8.onnx",
            )  # fmt: skip
            runs.append({"samples": samples, "peak_mb": round(megabytes, 1), "seconds": round(seconds, 1)})
            print(runs[-1], flush=True)
    ratio = round(runs[-1]["peak_mb"] / runs[0]["peak_mb"], 3)
    save("calibration_memory", {"method": __doc__, "runs": runs, "ratio": ratio})


if __name__ == "__main__":
    main()
