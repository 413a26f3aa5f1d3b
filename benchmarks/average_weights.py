"""The mean of the weights of checkpoints that came from one another: `python benchmarks/average_weights.py A B -o C`.

Weights from one path of training lie in one valley, and their mean often does better than each (Wortsman et al., "Model
soups", ICML 2022).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from schanger_export.checkpoints import as_tensors, read_card, read_state_dict, save_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="gets the card of the last one")
    options = parser.parse_args()
    states = [read_state_dict(path) for path in options.checkpoints]
    mean = {
        name: np.mean([state[name] for state in states], 0) if value.dtype.kind == "f" else value
        for name, value in states[-1].items()
    }
    save_checkpoint(options.output, as_tensors(mean), card=read_card(options.checkpoints[-1]))


if __name__ == "__main__":
    main()
