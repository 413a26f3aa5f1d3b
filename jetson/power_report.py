"""Energy per km2 in each power mode: `python3 power_report.py FOLDER` sums up FOLDER/MODE/bench.json in power.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = ("mode", "what", "device", "model", "batch", "megapixels/s", "J per km2", "n", "energy of")


def rows(folder: Path) -> list[dict[str, Any]]:
    """One row a mode, model and batch, of the network alone and of whole runs; those with least energy first."""
    found = []
    for path in sorted(folder.glob("*/bench.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        for key, what in (("speed", "network"), ("end_to_end", "whole run")):
            found += [_row(path.parent.name, what, measured) for measured in result[key]]
    return sorted(found, key=lambda row: (row["joules_per_km2"] or {}).get("median", float("inf")))


def _row(mode: str, what: str, measured: dict[str, Any]) -> dict[str, Any]:
    kept = ("device", "model", "batch", "megapixels_per_second", "joules_per_km2", "energy_of")
    return {"mode": mode, "what": what, **{key: measured[key] for key in kept}}


def table(found: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [COLUMNS, tuple("---" for _ in COLUMNS)]
    for row in found:
        rate, energy = row["megapixels_per_second"], row["joules_per_km2"]
        lines.append((
            row["mode"], row["what"], row["device"], row["model"], str(row["batch"]),
            f"{rate['median']:.3g}" if rate else "failed",
            f"{energy['median']:.3g} ({energy['low']:.3g} to {energy['high']:.3g})" if energy else "not measured",
            str(energy["n"]) if energy else "-", row["energy_of"] or "-",
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Print the table, write power.json; exit 2 where no mode was measured."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    found = rows(folder)
    if not found:
        print(f"{folder} holds no MODE/bench.json: run power.sh sweep first.", file=sys.stderr)
        sys.exit(2)
    temporary = folder / "power.json.part"
    temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / "power.json")
    print(table(found))


if __name__ == "__main__":
    main()
