"""The loss of training runs one after another, from what they said.

`python benchmarks/training_curve.py NAME STEPS:LOG[,LOG] ...` takes the outputs of `schanger-edge train`, of each run
the steps of its epoch and its logs, where it went on in another. A run says the mean loss since its epoch began;
here are the means over about twenty steps. Writes results/NAME-history.jsonl and results/NAME-training.png; with
--go-on the runs come after those that the results hold.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import matplotlib as mpl
from common import RESULTS

mpl.use("Agg")
import matplotlib.pyplot as plt

SAID = re.compile(r"([\d,]+) of ([\d,]+)(?: steps)?, loss ([\d.]+), (?:learning )?rate ([\d.]+(?:e[+-]\d+)?)")
PART = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("runs", nargs="+", help="STEPS:LOG[,LOG]")
    parser.add_argument("--go-on", action="store_true", help="after the runs of the results")
    options = parser.parse_args()
    history = RESULTS / f"{options.name}-history.jsonl"
    points = [json.loads(line) for line in history.read_text().splitlines()] if options.go_on else []
    earlier, first = (points[-1]["run"], points[-1]["step"]) if points else (0, 0)
    for run, text in enumerate(options.runs, earlier + 1):
        epoch, _, logs = text.partition(":")
        for step, loss, rate in means([Path(log).read_text() for log in logs.split(",")], int(epoch)):
            points.append({"run": run, "step": first + step, "loss": round(loss, 3), "rate": rate})
        first = points[-1]["step"]
    history.write_text("".join(json.dumps(point) + "\n" for point in points))
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for run in sorted({point["run"] for point in points}):
        own = [point for point in points if point["run"] == run]
        axes.plot([point["step"] for point in own], [point["loss"] for point in own], label=f"run {run}")
    axes.set(xlabel="step", ylabel="loss of the six maps together")
    figure.legend(loc="outside upper center", ncol=5)
    figure.savefig(RESULTS / f"{options.name}-training.png", dpi=100)


def means(logs: list[str], epoch: int) -> list[tuple[int, float, float]]:
    """(last step, mean loss, last rate) of parts of about `PART` steps; a later log knows better."""
    said: dict[int, tuple[float, float]] = {}
    for log in logs:
        found = [(int(m[1].replace(",", "")), float(m[3]), float(m[4])) for m in SAID.finditer(log)]
        said = {step: value for step, value in said.items() if step < found[0][0]}
        said |= {step: (loss, rate) for step, loss, rate in found}
    parts, last, before = [], 0, 0.0
    for step, (loss, rate) in sorted(said.items()):
        began = (step - 1) // epoch * epoch
        if began > last:  # the end of the last epoch was not said
            last, before = began, 0.0
        if step - last >= PART or step == max(said) or step == began + epoch:
            total = loss * (step - began)
            if step - last >= PART / 2:
                parts.append((step, (total - before) / (step - last), rate))
            last, before = step, 0.0 if step == began + epoch else total
    return parts


if __name__ == "__main__":
    main()
