"""The only room that opens the user's inputs: pair, common grid, radiometry, validity."""

from schanger_edge.scene.image import ImageInfo
from schanger_edge.scene.pair import Pair
from schanger_edge.scene.pair_opening import open_pair
from schanger_edge.scene.rows import RowReader
from schanger_edge.scene.tile import PairTile

__all__ = ["ImageInfo", "Pair", "PairTile", "RowReader", "open_pair"]
