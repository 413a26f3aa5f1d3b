"""Valid and changed shares on real pairs with the bundled model.

`python benchmarks/real_scenes.py DATA` runs the pairs below from a folder of real imagery. There are no labels. On the
`sjer` pairs nothing was built between the two flights, so what is called change there is a false-alarm rate; the cards'
GSD is 0.5 m, so `sjer` also runs at 0.1 m, its own, and at 0.5 m (`--gsd`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from common import save

from schanger_edge import detect

JOPLIN = ("joplin/pre_337-9136", "joplin/post_31500-5137")
PAIRS: list[tuple[str, str, dict[str, Any]]] = [
    (*JOPLIN, {}),
    (*JOPLIN, {"grid": "after"}),
    ("joplin/pre_337-10160", JOPLIN[1], {}),
    ("cartosat/t1_nov_3_3", "cartosat/t2_nov_3_3", {}),
    ("naip/2009-08-18", "naip/2020-08-31", {}),
    ("sjer/2017_003", "sjer/later_003", {}),
    ("sjer/2017_003", "sjer/later_003", {"gsd": 0.5}),
    ("sjer/2017_062", "sjer/later_062", {}),
    ("sjer/2017_062", "sjer/later_062", {"gsd": 0.5}),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for before, after, choice in PAIRS:
            paths = (options.data / f"{name}.tif" for name in (before, after))
            result = detect(*paths, Path(folder) / "out", **choice)
            summary = result.summary
            rows.append(
                {
                    "before": before,
                    "after": after,
                    **choice,
                    "grid_gsd": round(summary["grid"]["gsd"], 3),
                    "valid_share": round(result.valid / summary["pixels"]["total"], 4),
                    "changed_share_of_valid": round(result.changed_share, 4),
                    "polygons": result.polygons,
                    "warnings": [text.replace(f"{options.data}/", "") for text in summary["warnings"]],
                }
            )
    save("real-scenes", {"method": __doc__, "model_sha256": summary["model"]["sha256"], "pairs": rows})


if __name__ == "__main__":
    main()
