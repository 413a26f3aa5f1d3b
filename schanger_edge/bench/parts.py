"""The names under which finished parts of a benchmark are kept."""

from __future__ import annotations

from schanger_edge.bench.request import Case, Labelled, Model

SITTINGS = "sittings"


def memory(case: Case) -> str:
    return f"memory: {case.key}"


def warm_up(case: Case) -> str:
    return f"warm-up: {case.key}"


def block(case: Case, number: int) -> str:
    return f"round {number}: {case.key}"


def accuracy(device: str, model: Model, dataset: Labelled) -> str:
    return f"accuracy: {device}, {model.name}, {dataset.label}"


def end_to_end(device: str, model: Model, number: int) -> str:
    return f"pair {number}: {device}, {model.name}"
