"""The command line: parse, call one tool, print. Errors end with one sentence and exit code 2.

One module per group of commands; importing it adds its commands to `app`.
"""

from schanger_edge.cli import batch, bench, data, engines, models, published, review, run, scores, training, watch
from schanger_edge.cli.app import app, main

__all__ = [
    "app",
    "batch",
    "bench",
    "data",
    "engines",
    "main",
    "models",
    "published",
    "review",
    "run",
    "scores",
    "training",
    "watch",
]
