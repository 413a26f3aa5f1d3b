"""A machine with a simulated GPU and TensorRT under their own names, so that `--device cuda` and `auto` find them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fake_cuda_bindings import FakeCudaBindings
from fake_device import FakeDevice
from fake_pycuda import FakePyCuda
from simulator import SimulatedTensorRT

from schanger_edge.sessions import gpu


class Machine:
    """See the module.

    Args:
        monkeypatch: for as long as the machine stands.
        cache: what SCHANGER_EDGE_CACHE names.

    Attributes:
        trt: what `import tensorrt` gives.
        device: the GPU.
        driver: what `cuda.bindings.driver` gives.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("SCHANGER_EDGE_CACHE", str(cache))
        self.device, self.trt = FakeDevice(), SimulatedTensorRT(FakeDevice())
        self.plug_in(self.device)
        self.install(self.trt)
        monkeypatch.setattr(gpu, "driver_present", lambda: True)

    def plug_in(self, device: FakeDevice) -> None:
        """Another GPU, under both packages."""
        self.device = self.trt.device = device
        self.driver = FakeCudaBindings(device)
        self._monkeypatch.setitem(sys.modules, "cuda.bindings.driver", self.driver)
        self._monkeypatch.setitem(sys.modules, "pycuda.driver", FakePyCuda(device))

    def install(self, trt: Any, name: str = "tensorrt") -> None:
        """What an import of TensorRT gives; None where it is not installed."""
        self._monkeypatch.setitem(sys.modules, name, trt)

    def without_driver(self) -> None:
        """The driver's library is gone."""
        self._monkeypatch.setattr(gpu, "driver_present", lambda: False)

    @property
    def builds(self) -> int:
        """How many plans were built."""
        return len(self.trt.builds_asked)
