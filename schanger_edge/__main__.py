"""`python -m schanger_edge`."""

from schanger_edge.cli import main

if __name__ == "__main__":
    main()
