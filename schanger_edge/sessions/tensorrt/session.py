"""A TensorRT or TensorRT-RTX plan as a session: copies and inference of neighbouring batches overlap.

Each slot has pinned host buffers and device buffers for one batch. Its work goes over three streams, joined by events:
copy in, inference, copy out. A slot is free again when its result has been taken, so no slot waits for another but in
the one context, whose stream runs the batches in order. Where CPU and GPU share memory nothing is copied.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import SessionError
from schanger_edge.files import replacing
from schanger_edge.model.card import INPUT_NAMES, OUTPUT_NAME
from schanger_edge.sessions.engine import SLOTS
from schanger_edge.sessions.session import Session, check_probability
from schanger_edge.sessions.tensorrt import plans
from schanger_edge.sessions.tensorrt.builder import NO_ROOM
from schanger_edge.sessions.tensorrt.context import Context
from schanger_edge.sessions.tensorrt.cuda import Cuda, HostMemory, OutOfDeviceMemoryError
from schanger_edge.sessions.tensorrt.flavour import Flavour, error_log, last_complaint, start

STAGES = ("copy_in", "infer", "copy_out")
TIMINGS_KEPT = 10_000
RUNTIME_CACHE_SUFFIX = ".runtime-cache"


class PlanError(SessionError):
    """TensorRT does not take a plan, which another build may mend."""


@dataclasses.dataclass
class Slot:
    """Buffers and events of one batch under way.

    Attributes:
        host: pinned memory of before, after and probability.
        addresses: where the device finds them.
        events: begin and end of copy in, inference and copy out.
        ticket: of the batch whose result has not been taken; None where the slot is free.
    """

    host: tuple[HostMemory, ...]
    addresses: tuple[int, ...]
    events: tuple[Any, ...]
    ticket: object | None = None


class TensorRTSession(Session):
    """See `sessions.Session`.

    Args:
        plan: the file, with its sidecar.
        flavour: whose runtime.
        cuda: the device; the session closes it.
        slots: batches that may be under way at once.
        graphs: use CUDA graphs where they are possible.

    Attributes:
        notes: what differs from what was asked for, in sentences.
        timings: (stage, milliseconds) on the device, of the latest batches; see `STAGES`.

    Raises:
        SessionError: the plan does not fit here, is damaged, or the device has no room for it.
    """

    def __init__(self, plan: Path, flavour: Flavour, cuda: Cuda, slots: int = SLOTS, graphs: bool = True) -> None:
        self._resources = contextlib.ExitStack()
        self._context: Context | None = None
        self._slots: list[Slot] = []
        self._runtime_cache: Any = None
        self._kernels_kept_for: set[int] = set()  # batch sizes
        self._timed = True
        with contextlib.ExitStack() as opening:
            opening.callback(self.close)
            self._resources.callback(cuda.close)
            if slots < 1:
                raise SessionError(f"slots must be at least 1, not {slots}.")
            here = plans.target_on(flavour, cuda.gpu)
            content, self._plan_card = plans.load_plan(plan, here)
            self.card, self.model = self._plan_card.card, plan
            self._runtime_cache_path = plan.with_name(plan.name + RUNTIME_CACHE_SUFFIX)
            self.model_sha256, self.chosen = self._plan_card.model_sha256, ""
            self.notes: list[str] = list(filter(None, [plans.power_note(self._plan_card.target, here)]))
            self.timings: deque[tuple[str, float]] = deque(maxlen=TIMINGS_KEPT)
            self._cuda, self._trt, self._log = cuda, flavour.module, error_log(flavour.module)
            self._runtime = start(flavour, "Runtime", self._log)
            self._engine = self._runtime.deserialize_cuda_engine(content)
            if self._engine is None:
                self._refuse_plan(flavour)
            self._check_tensors()
            graphs = graphs and cuda.graphs and flavour.name == "tensorrt"  # RTX makes its own
            context = self._make_context(flavour)
            self._context = Context(context, plan.name, self.card.tile, self._log, cuda, self.notes, graphs=graphs)
            self._streams = [cuda.stream() for _ in STAGES]
            self._resources.callback(cuda.release, *self._streams)
            self.max_batch: int = self._plan_card.batches.most
            self._slots = self._make_slots(slots)
            self.slots = len(self._slots)
            opening.pop_all()
        batches = self._plan_card.batches
        self.best_batch = min(batches.best, self.max_batch)
        self.device = f"{flavour.words} ({cuda.gpu.name}, batches {batches.least} to {self.max_batch}, {slots} slots)"

    def describe(self) -> dict[str, Any]:
        """`typing`: `strong` (types as in the model file) or `weak` (by flags); `flags` of the builder; `tf32`."""
        return {"typing": self._plan_card.typing, "flags": self._plan_card.flags, "tf32": self._plan_card.in_tf32}

    def identity(self) -> dict[str, Any]:
        return {"model": self.model_sha256, "device": self.device, "plan": self._plan_card.plan_sha256}

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.submit(before, after)()

    def submit(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        self._check_inputs(before, after)
        starts = range(0, len(before), self.max_batch)
        if len(starts) > 1:  # more than the device takes at once: one after the other
            parts = [self.run(before[i : i + self.max_batch], after[i : i + self.max_batch]) for i in starts]
            return lambda: np.concatenate(parts)
        slot = next((slot for slot in self._slots if slot.ticket is None), None)
        if slot is None:
            raise SessionError(f"all {self.slots} slots are in use: take a result before submitting the next batch.")
        for memory, tiles in zip(slot.host, (before, after), strict=False):
            memory.bytes[: tiles.nbytes].reshape(tiles.shape)[...] = tiles
        self._cuda.enter()
        self._start(slot, max(len(before), self._plan_card.batches.least))
        slot.ticket = ticket = object()
        shape = (len(before), 1, *before.shape[2:])
        return lambda: self._finish(slot, ticket, shape)

    def close(self) -> None:
        """Give everything back, in the order that CUDA asks for; a second call does nothing."""
        with contextlib.suppress(SessionError):  # of a device that answers no more
            self._wait_for_all()
        for slot in self._slots:
            slot.ticket = None
            slot.events = ()  # pycuda frees what nobody holds, while the context is there
        self._keep_runtime_cache()
        if self._context is not None:
            self._context.close()
        self._context = self._engine = self._runtime = self._runtime_cache = None
        self._slots, self._streams = [], []
        with contextlib.suppress(SessionError):  # the error that led here is the one to tell
            self._resources.close()

    # A batch: its way through the three streams.

    def _start(self, slot: Slot, batch: int) -> None:
        assert self._context is not None
        cuda, (copy_in, infer, copy_out) = self._cuda, self._streams
        in_begin, in_end, begin, end, out_begin, out_end = slot.events
        bytes_in, bytes_out = self._sizes(batch)
        cuda.record(in_begin, copy_in)
        if not cuda.gpu.integrated:
            for memory, address in zip(slot.host[:2], slot.addresses[:2], strict=True):
                cuda.copy_in(address, memory, bytes_in, copy_in)
        cuda.record(in_end, copy_in)
        cuda.wait(infer, in_end)
        cuda.record(begin, infer)
        self._context.infer(slot.addresses, batch, infer)
        cuda.record(end, infer)
        cuda.wait(copy_out, end)
        cuda.record(out_begin, copy_out)
        if not cuda.gpu.integrated:
            cuda.copy_out(slot.host[2], slot.addresses[2], bytes_out, copy_out)
        cuda.record(out_end, copy_out)

    def _finish(self, slot: Slot, ticket: object, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if slot.ticket is not ticket:
            raise SessionError("the result of this batch was already taken, or the session is closed.")
        try:
            self._cuda.enter()
            self._cuda.synchronize(slot.events[-1])
            self._measure(slot)
            count = int(np.prod(shape)) * np.dtype(np.float32).itemsize
            probability: NDArray[np.float32] = slot.host[2].bytes[:count].view(np.float32).reshape(shape).copy()
        finally:
            slot.ticket = None
        check_probability(probability, shape)
        if shape[0] not in self._kernels_kept_for:  # now, for a run may be killed
            self._kernels_kept_for.add(shape[0])
            self._keep_runtime_cache()
        return probability

    def _measure(self, slot: Slot) -> None:
        """Times of a batch that is done; where they cannot be had the run goes on without any."""
        if not self._timed:
            return
        try:
            for stage, begin, end in zip(STAGES, slot.events[::2], slot.events[1::2], strict=True):
                self.timings.append((stage, self._cuda.milliseconds(begin, end)))
        except SessionError as error:
            self._timed = False
            self.notes.append(f"times on the GPU are not measured: {error}")

    # What is made once.

    def _refuse_plan(self, flavour: Flavour) -> NoReturn:
        said = last_complaint(self._log)
        if NO_ROOM.search(" ".join(self._log.errors)):  # the plan may be good, and a smaller batch takes as much
            raise SessionError(
                f"{self._cuda.gpu.name} has no memory to load {self.model.name} ({said}): close other programs."
            )
        raise PlanError(f"{flavour.words} cannot load {self.model.name}: {said}; rebuild it.")

    def _check_tensors(self) -> None:
        engine, kinds = self._engine, self._trt.DataType
        names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
        wanted = {**dict.fromkeys(INPUT_NAMES, kinds.UINT8), OUTPUT_NAME: kinds.FLOAT}
        found = {name: engine.get_tensor_dtype(name) for name in names}
        if found != wanted:
            described = ", ".join(f"{name} {kind}" for name, kind in found.items())
            raise PlanError(f"{self.model} breaks the model contract (it has {described}): rebuild it.")

    def _make_context(self, flavour: Flavour) -> Any:
        config = [self._rtx_config()] if flavour.name == "rtx" else []
        context = self._engine.create_execution_context(*config)
        if context is None:
            raise OutOfDeviceMemoryError(
                f"{self._cuda.gpu.name} has no memory for the engine of {self.model.name} "
                f"({last_complaint(self._log)}): build it with a smaller --batch or --workspace."
            )
        return context

    def _rtx_config(self) -> Any:
        """How TensorRT-RTX runs; TensorRT has a runtime config too, from 10.11 on, but without all of this."""
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        if hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):
            strategy = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = strategy
        else:
            self.notes.append(
                "this TensorRT-RTX changes kernels while it runs, so that times and last digits change: update it."
            )
        self._runtime_cache = config.create_runtime_cache()
        with contextlib.suppress(Exception):  # it only saves time; what cannot be read is made anew
            self._runtime_cache.deserialize(self._runtime_cache_path.read_bytes())
        config.set_runtime_cache(self._runtime_cache)
        return config

    def _make_slots(self, count: int) -> list[Slot]:
        """As many as asked for; where there is no room, for smaller batches."""
        while True:
            with contextlib.ExitStack() as made:
                try:
                    slots = [self._make_slot(made) for _ in range(count)]
                except OutOfDeviceMemoryError as error:
                    smaller = self.max_batch // 2
                    if smaller < self._plan_card.batches.least:
                        raise
                    self.notes.append(f"{error} Using batches of {smaller} instead of {self.max_batch}.")
                    self.max_batch = smaller
                    continue
                self._resources.push(made.pop_all())
                return slots

    def _make_slot(self, made: contextlib.ExitStack) -> Slot:
        bytes_in, bytes_out = self._sizes(self.max_batch)
        host, addresses = [], []
        for size in (bytes_in, bytes_in, bytes_out):
            memory = self._cuda.alloc_host(size)
            made.callback(self._cuda.free_host, memory)
            host.append(memory)
            if self._cuda.gpu.integrated:
                addresses.append(memory.device_pointer)
            else:
                addresses.append(self._cuda.alloc(size))
                made.callback(self._cuda.free, addresses[-1])
        events = tuple(self._cuda.event() for _ in range(2 * len(STAGES)))
        made.callback(self._cuda.release, *events)
        return Slot(tuple(host), tuple(addresses), events)

    def _sizes(self, batch: int) -> tuple[int, int]:
        """Bytes of one date and of the probability."""
        pixels = batch * self.card.tile**2
        return 3 * pixels, np.dtype(np.float32).itemsize * pixels

    def _check_inputs(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> None:
        if self._context is None:
            raise SessionError("the session is closed.")
        tile = self.card.tile
        for date in (before, after):
            if date.dtype != np.uint8 or date.shape[1:] != (3, tile, tile) or len(date) != len(before) or not len(date):
                raise SessionError(
                    f"{self.model.name} takes uint8 tiles (N, 3, {tile}, {tile}), not {date.dtype} {date.shape}."
                )

    def _wait_for_all(self) -> None:
        """Until no stream has work left: a result may not have been taken, or a batch have failed half-way."""
        if self._slots:
            self._cuda.enter()
            event = self._slots[0].events[0]
            for stream in self._streams:
                self._cuda.record(event, stream)
                self._cuda.synchronize(event)

    def _keep_runtime_cache(self) -> None:
        """The kernels that RTX made here, for the next start; a folder that cannot be written does without."""
        if self._runtime_cache is None:
            return
        with contextlib.suppress(SessionError), replacing(self._runtime_cache_path, SessionError) as temporary:
            temporary.write_bytes(bytes(self._runtime_cache.serialize()))
