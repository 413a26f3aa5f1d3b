"""A fake CUDA device for tests: real numbers in memory, and no order but the one that was asked for.

Work given to a stream is done late, and streams run out of step: which one goes on is drawn by a seed whenever the host
calls. So a wait that is missing shows in the numbers. Device memory has addresses that the host cannot read, and a
device sees the host's page-locked memory at another address than the host does. What the driver would refuse is a
`RefusedError` with its code; what it would let pass, and what might go wrong only now and then, is kept in `faults`.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
from fake_memory import Code, FakeMemory, RefusedError
from numpy.typing import NDArray

Work = Callable[[], None]
Bytes = NDArray[np.uint8]
GLOBAL, THREAD_LOCAL = 0, 1  # CUstreamCaptureMode
NON_BLOCKING = 1  # CUstream_flags
BLOCKING_SYNC, DISABLE_TIMING = 1, 2  # CUevent_flags


@dataclasses.dataclass
class Event:
    """Happens once for each time it was recorded."""

    timed: bool
    recorded: int = 0
    happened: int = 0
    time: float = 0.0


@dataclasses.dataclass
class Capture:
    """What a stream keeps instead of doing it."""

    mode: int
    thread: int
    work: list[Work] = dataclasses.field(default_factory=list)
    invalid: bool = False


@dataclasses.dataclass
class Stream:
    """Work to do in order; an item is what must be true first, and what to do."""

    work: deque[tuple[Callable[[], bool], Work]] = dataclasses.field(default_factory=deque)
    capture: Capture | None = None


@dataclasses.dataclass
class Graph:
    """Captured work."""

    work: list[Work]


@dataclasses.dataclass
class Executable:
    """A graph that can be launched; `pending` pieces of its work are not done yet."""

    work: list[Work]
    pending: int = 0


class FakeDevice:
    """See the module.

    Args:
        seed: of the order in which streams go on.
        integrated: it shares the host's memory; a copy is then a fault.
        memory: bytes, of host and device together.
        capturable: whether captures succeed.
        idle: nothing is done but what the host waits for.

    Attributes:
        live: how many of each kind are there: `context` (retained), `device`, `host`, `stream`, `event`, `graph`,
            `executable`; `pushed` contexts of pycuda.
        faults: sentences.
        copies, captures, launches: how many there were.
        done: pieces of work that streams have done.
        broken: after a fault of its own the device answers every call with the same error.
    """

    def __init__(
        self, seed: int = 0, *, integrated: bool = False, memory: int = 1 << 30, capturable: bool = True,
        idle: bool = False,
    ) -> None:  # fmt: skip
        self.integrated, self.memory, self.capturable, self.idle = integrated, memory, capturable, idle
        self.live: Counter[str] = Counter()
        self.faults: list[str] = []
        self.copies = self.captures = self.launches = self.done = 0
        self.broken = False
        self._random, self._clock = random.Random(seed), 0.0
        self._memory = FakeMemory(memory)
        self._names = itertools.count(1)
        self._things: dict[int, Any] = {}
        self._current: set[int] = set()  # threads in which the primary context is current

    # The primary context.

    def retain(self) -> None:
        """One more user of the primary context."""
        self.live["context"] += 1

    def release(self) -> None:
        """One user less; without any the context is gone, in every thread."""
        if not self.live["context"]:
            raise RefusedError(Code.CUDA_ERROR_INVALID_CONTEXT)
        self.live["context"] -= 1
        if not self.live["context"]:
            self._current.clear()

    def set_current(self, current: bool = True) -> None:
        """In the calling thread."""
        if current and not self.live["context"]:
            raise RefusedError(Code.CUDA_ERROR_INVALID_CONTEXT)
        (self._current.add if current else self._current.discard)(threading.get_ident())
        if self.broken:
            raise RefusedError(Code.CUDA_ERROR_ILLEGAL_ADDRESS)

    def _answer(self) -> None:
        if self.broken:
            raise RefusedError(Code.CUDA_ERROR_ILLEGAL_ADDRESS)
        if threading.get_ident() not in self._current:
            raise RefusedError(Code.CUDA_ERROR_INVALID_CONTEXT)

    # Memory.

    def alloc(self, size: int) -> int:
        """Device memory; its address."""
        self._answer()
        self._forbidden_in_captures()
        address = self._memory.alloc(size)
        self.live["device"] += 1
        return address

    def free(self, address: int) -> None:
        """Device memory."""
        self._free("device", self._memory.free, address)

    @property
    def free_bytes(self) -> int:
        """What is left of its memory."""
        self._answer()
        return self._memory.free_bytes

    def alloc_host(self, size: int) -> int:
        """Page-locked memory of the host; its address there."""
        self._answer()
        self._forbidden_in_captures()
        address = self._memory.alloc_host(size)
        self.live["host"] += 1
        return address

    def mapped(self, address: int) -> int:
        """Where the device sees page-locked memory."""
        self._answer()
        return self._memory.mapped(address)

    def free_host(self, address: int) -> None:
        """Page-locked memory."""
        self._free("host", self._memory.free_host, address)

    def _free(self, kind: str, free: Callable[[int], None], address: int) -> None:
        self._answer()
        if any(stream.work for stream in self._all(Stream)):
            self.faults.append("memory was freed while work was under way")
        free(address)
        self.live[kind] -= 1

    def seen(self, address: int, size: int) -> NDArray[np.uint8]:
        """What the device finds at an address of its own."""
        found = self._memory.of_device(address, size)
        assert found is not None, f"the device reads or writes {size} bytes at {address:#x}, which are not its own"
        return found

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """From the host, in the order of the stream."""
        self._copy(self._memory.of_device(device, size), self._memory.of_host(host, size), stream)

    def copy_out(self, host: int, device: int, size: int, stream: int) -> None:
        """To the host, in the order of the stream."""
        self._copy(self._memory.of_host(host, size), self._memory.of_device(device, size), stream)

    def _copy(self, target: Bytes | None, source: Bytes | None, stream: int) -> None:
        if target is None or source is None:
            raise RefusedError(Code.CUDA_ERROR_INVALID_VALUE)
        self.copies += 1
        if self.integrated:
            self.faults.append("a copy was made although host and device share their memory")
        self.give(stream, lambda: np.copyto(target, source))

    # Streams and events.

    def stream(self, flags: int) -> int:
        """Its number."""
        self._answer()
        if not flags & NON_BLOCKING:
            self.faults.append("a stream waits for the default one")
        return self._keep(Stream())

    def event(self, flags: int) -> int:
        """Its number."""
        self._answer()
        if not flags & BLOCKING_SYNC:
            self.faults.append("whoever waits for an event spins")
        return self._keep(Event(timed=not flags & DISABLE_TIMING))

    def record(self, event: int, stream: int) -> None:
        """The event happens when the stream gets here."""
        one = self._find(event, Event)
        one.recorded += 1

        def happen() -> None:
            one.happened += 1
            one.time = self._clock

        self.give(stream, happen)

    def wait(self, stream: int, event: int) -> None:
        """The stream goes on when the event has happened."""
        one = self._find(event, Event)
        wanted = one.recorded
        self.give(stream, lambda: None, lambda: one.happened >= wanted)

    def synchronize(self, event: int) -> None:
        """The host goes on when the event has happened."""
        self._answer()
        one = self._find(event, Event)
        while one.happened < one.recorded:
            assert self._step(), "the host waits for what never happens"

    def milliseconds(self, first: int, second: int) -> float:
        """Between two events; negative where the second happened first."""
        self._answer()
        events = self._find(first, Event), self._find(second, Event)
        if not all(event.timed and event.recorded for event in events):
            raise RefusedError(Code.CUDA_ERROR_INVALID_HANDLE)
        if any(event.happened < event.recorded for event in events):
            raise RefusedError(Code.CUDA_ERROR_NOT_READY)
        return events[1].time - events[0].time

    def give(self, stream: int, do: Work, ready: Callable[[], bool] = lambda: True) -> None:
        """Give a stream work; some of what waits is done meanwhile, or nothing."""
        self._answer()
        one = self._find(stream, Stream)
        if one.capture is not None:
            one.capture.work.append(do)
            return
        one.work.append((ready, do))
        if not self.idle:
            for _ in range(self._random.choice((0, 0, 0, 1, 4))):
                self._step()

    def _step(self) -> bool:
        """Do one piece of work of a stream drawn among those that can go on."""
        able = [stream for stream in self._all(Stream) if stream.work and stream.work[0][0]()]
        if not able:
            return False
        _, do = self._random.choice(able).work.popleft()
        self._clock += self._random.uniform(0.1, 1.0)
        do()
        self.done += 1
        return True

    # Graphs.

    def begin_capture(self, stream: int, mode: int) -> None:
        """From now on the stream keeps its work."""
        self._answer()
        one = self._find(stream, Stream)
        if one.capture is not None:
            raise RefusedError(Code.CUDA_ERROR_INVALID_VALUE)
        self.captures += 1
        one.capture = Capture(mode, threading.get_ident(), invalid=not self.capturable)

    def end_capture(self, stream: int) -> int:
        """Number of the graph of what the stream kept."""
        one = self._find(stream, Stream)
        capture, one.capture = one.capture, None
        if capture is None:
            raise RefusedError(Code.CUDA_ERROR_INVALID_VALUE)
        if capture.invalid:
            raise RefusedError(Code.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        return self._keep(Graph(capture.work))

    def capturing(self, stream: int) -> Capture | None:
        """The capture that a stream is in."""
        return self._find(stream, Stream).capture

    def instantiate(self, graph: int) -> int:
        """Number of an executable graph."""
        self._answer()
        return self._keep(Executable(list(self._find(graph, Graph).work)))

    def launch(self, executable: int, stream: int) -> None:
        """All of a graph, in the order of the stream."""
        one = self._find(executable, Executable)
        self.launches += 1
        for work in one.work:

            def do(work: Work = work) -> None:
                work()
                one.pending -= 1

            one.pending += 1
            self.give(stream, do)

    def _forbidden_in_captures(self) -> None:
        """Memory is not given out in a thread that captures, nor in any while one captures in the global mode."""
        for stream in self._all(Stream):
            capture = stream.capture
            own = capture is not None and capture.mode == THREAD_LOCAL and capture.thread == threading.get_ident()
            if capture is not None and (own or capture.mode == GLOBAL):
                capture.invalid = True
                raise RefusedError(Code.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)

    # Handles.

    def destroy(self, number: int, kind: type[Any]) -> None:
        """A stream, event, graph or executable graph."""
        thing = self._find(number, kind)
        if isinstance(thing, Executable) and thing.pending:
            self.faults.append("a graph was released while it was under way")
        del self._things[number]
        self.live[kind.__name__.lower()] -= 1

    def _keep(self, thing: Any) -> int:
        number = next(self._names)
        self._things[number] = thing
        self.live[type(thing).__name__.lower()] += 1
        return number

    def _find(self, number: int, kind: type[Any]) -> Any:
        thing = self._things.get(number)
        if not isinstance(thing, kind):
            raise RefusedError(Code.CUDA_ERROR_INVALID_HANDLE)
        return thing

    def _all(self, kind: type[Any]) -> list[Any]:
        return [thing for thing in self._things.values() if isinstance(thing, kind)]
