"""The only room that opens the user's inputs: pair, common grid, radiometry, validity."""

from schanger_edge.scene.image import ImageInfo
from schanger_edge.scene.pair import Pair, PairTile, open_pair

__all__ = ["ImageInfo", "Pair", "PairTile", "open_pair"]
