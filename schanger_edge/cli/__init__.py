"""The command line: parse, call one tool, print. Errors end with one sentence and exit code 2."""

from schanger_edge.cli.app import app, main

__all__ = ["app", "main"]
