"""A flipped bit is noticed in the formats of which docs/limits.md says so."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import Ground, Tiff

from schanger_edge.errors import SceneError
from schanger_edge.scene import open_pair


@pytest.mark.parametrize(
    "options", [{"compress": "deflate"}, {"compress": "lzma"}, {"compress": "lerc"}, {"driver": "PNG"}]
)
def test_a_flipped_bit(make_tiff: Tiff, ground: Ground, options: dict[str, Any]) -> None:
    suffix = "png" if "driver" in options else "tif"
    path = make_tiff(f"a.{suffix}", ground(200, 200), crs=None, **options)
    whole = path.read_bytes()
    for share in (0.3, 0.5, 0.8):
        at = int(share * len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(SceneError, match=rf"a\.{suffix} cannot be (read|opened)"), open_pair(path, path) as pair:
            pair.read(pair.grid.window)
