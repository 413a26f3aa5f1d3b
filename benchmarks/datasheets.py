"""What vendors state of GPUs: memory bandwidth and dense matrix rates. None of these was measured here."""

from __future__ import annotations

import dataclasses

ORIN = (
    "the GPU alone, without DLA: tensor cores x clock x 512 dense INT8 multiply-adds a clock, as in the 170 sparse "
    "INT8 TOPS of 64 tensor cores at 1.3 GHz (Jetson AGX Orin Series Technical Brief v1.2); FP16 is half of INT8"
)


@dataclasses.dataclass(frozen=True)
class Datasheet:
    """One device; rates are dense, two operations a multiply-add, at the highest clock stated.

    Attributes:
        bandwidth: GB/s.
        fp16: TFLOPS.
        int8: TOPS.
        source: where the numbers stand, and what was computed from them.
    """

    name: str
    bandwidth: float
    fp16: float
    int8: float
    source: str


DATASHEETS = (
    Datasheet(
        "Jetson Orin Nano 8GB", 102, 16.7, 33.4,
        "NVIDIA Jetson Orin Nano Super Developer Kit datasheet: 67 sparse INT8 TOPS, 102 GB/s, 32 tensor cores, "
        f"1020 MHz; {ORIN}",
    ),
    Datasheet(
        "Jetson Orin NX 16GB", 102.4, 19.2, 38.4,
        "NVIDIA Jetson Orin NX Series data sheet and JetPack 6.2 super mode: 102.4 GB/s, 32 tensor cores, 1173 MHz; "
        f"{ORIN}",
    ),
    Datasheet(
        "Jetson AGX Orin 64GB", 204.8, 42.6, 85.2,
        f"NVIDIA Jetson AGX Orin Series data sheet: 204.8 GB/s, 64 tensor cores, 1301 MHz; {ORIN}",
    ),
    Datasheet(
        "Jetson Thor T5000", 273, 258, 517,
        "NVIDIA Jetson Thor Series Modules data sheet: 2070 sparse FP4 TFLOPS, 273 GB/s; dense is half of sparse, FP8 "
        "and INT8 half of FP4, FP16 half of that",
    ),
    Datasheet(
        "GeForce RTX 4090", 1008, 330.3, 660.6,
        "NVIDIA Ada GPU Architecture whitepaper, appendix A: 1008 GB/s, 330.3 TFLOPS of FP16 with FP16 accumulation, "
        "660.6 INT8 TOPS, dense",
    ),
    Datasheet(
        "H100 SXM", 3350, 989.4, 1978.9,
        "NVIDIA H100 Tensor Core GPU datasheet: 3.35 TB/s, 1,979 sparse FP16 TFLOPS, 3,958 sparse INT8 TOPS; dense is "
        "half of sparse",
    ),
)  # fmt: skip
