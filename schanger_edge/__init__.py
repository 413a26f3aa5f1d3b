"""Change maps from two georeferenced images: `from schanger_edge import detect`."""

__version__ = "0.1.0"
