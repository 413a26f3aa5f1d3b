"""A hook of `schanger-edge watch` that posts each result to a web address as JSON; needs Python alone.

schanger-edge watch INBOX -o STATION --hook python3 --hook-arg jetson/hooks/webhook.py \
    --hook-arg https://example.org/changes --hook-arg {result}
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path

SECONDS = 20


def main(address: str, folder: str) -> None:
    """Post what summary.json says of the result in this folder."""
    summary = json.loads((Path(folder) / "summary.json").read_text(encoding="utf-8"))
    content = {
        "result": Path(folder).name,
        "polygons": summary["polygons"],
        "changed_m2": summary["area_m2"]["changed"],
        "changed_share": summary["changed_share_of_valid"],
        "warnings": summary["warnings"],
    }
    request = urllib.request.Request(
        address, json.dumps(content).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=SECONDS):
        pass


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"the result was not posted: {error}")  # the watch records it
