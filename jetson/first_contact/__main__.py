"""The steps of `jetson/first_contact.sh`, each in a process of its own.

python jetson/first_contact list               names and seconds of the steps
python jetson/first_contact STEP FOLDER        try one: writes FOLDER/STEP.json
python jetson/first_contact pack FOLDER        writes FOLDER.zip of all .json and .log, prints a table
"""

from __future__ import annotations

import json
import sys
import traceback
import zipfile
from pathlib import Path
from typing import Any

import device
import plans
import speed
from contact import SkipStep, Step

STEPS = (
    Step("machine", 60, "versions, GPU, whether TensorRT starts", device.machine),
    Step("cuda-python", 60, "cuda-bindings: open and close, copies, capture", device.cuda_python),
    Step("pycuda", 60, "pycuda: the same without graphs", device.pycuda),
    Step("models", 120, "FP16, INT8 and base models", plans.models),
    Step("build-fp16-1", 120, "FP16 for one pair", plans.builds("fp16", plans.ONE)),
    Step("build-fp16-8", 180, "FP16 for 1, 4, 8 pairs", plans.builds("fp16", plans.EIGHT)),
    Step("build-limited", 90, "too little scratch memory", plans.builds("fp16", plans.ONE, plans.TOO_LITTLE)),
    Step("build-fp32-8", 180, "FP32 for 1, 4, 8 pairs", plans.builds("fp32", plans.EIGHT)),
    Step("mix", 60, "batches of changing size", speed.mix),
    Step("build-int8-8", 240, "INT8 for 1, 4, 8 pairs", plans.builds("int8", plans.EIGHT)),
    Step("build-chain-8", 240, "INT8 in the whole chain, scales made up", plans.builds(plans.CHAIN, plans.EIGHT)),
    Step("latency", 150, "FP32, FP16, INT8, INT8 chain with made-up scales, at batch 1 and 4", speed.latency),
    Step("int8-layers", 150, "what INT8 convolutions hand on, scales made up", plans.handed_on),
    Step("rtx", 90, "TensorRT-RTX cold and cached", speed.rtx),
    Step("tests", 240, "pytest -m gpu", device.tests),
    Step("typing", 240, "weak against strong types", plans.typing),
    Step("onnxruntime", 90, "ONNX Runtime's CUDA provider", speed.onnxruntime),
    Step("build-base-1", 240, "base, FP32 for one pair", plans.builds("base", plans.ONE)),
    Step("power", 120, "the plan in each power mode", speed.power),
)
KEPT = ("*.json", "*.log", "*.tsv")


def try_step(step: Step, folder: Path) -> int:
    """Run one and write down what came of it; 0 where it is done, 3 where it does not apply, 1 where it failed."""
    state: dict[str, Any]
    try:
        state = {"state": "done", "result": step.run(folder)}
    except SkipStep as reason:
        state = {"state": "skipped", "reason": str(reason)}
    except Exception as error:  # whatever it is, it is what we want to know
        traceback.print_exc()
        state = {"state": "failed", "error": f"{type(error).__name__}: {error}"}
    text = json.dumps({"step": step.name, "what": step.what, **state}, indent=1, default=str)
    (folder / f"{step.name}.json").write_text(text + "\n", encoding="utf-8")
    if state["state"] != "done":
        print(state.get("reason") or state.get("error"))
    return {"done": 0, "skipped": 3, "failed": 1}[state["state"]]


def pack(folder: Path) -> Path:
    """All results in one zip beside the folder; no model, plan or image goes into it."""
    target = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for pattern in KEPT for path in folder.glob(pattern)):
            archive.write(path, f"{folder.name}/{path.name}")
    return target


def main(arguments: list[str]) -> int:
    """See the module."""
    steps = {step.name: step for step in STEPS}
    match arguments:
        case ["list"]:
            print("\n".join(f"{step.name}\t{step.seconds}\t{step.what}" for step in STEPS))
        case ["pack", folder]:
            print(pack(Path(folder)))
        case ["in-this-mode", plan]:
            print(json.dumps(speed.in_this_mode(Path(plan))))
        case [name, folder] if name in steps:
            return try_step(steps[name], Path(folder))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
