"""Every error travels between processes."""

from __future__ import annotations

import pickle

import pytest

from schanger_edge.errors import SchangerError
from schanger_edge.sessions.tensorrt.cuda import OutOfDeviceMemoryError


def kinds() -> list[type[SchangerError]]:
    """All classes of errors."""
    found: list[type[SchangerError]] = [SchangerError]
    for kind in found:
        found += kind.__subclasses__()
    assert OutOfDeviceMemoryError in found
    return found


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_errors_survive_pickling(kind: type[SchangerError]) -> None:
    """What caused them is dropped, or kept where tblib is installed."""
    try:
        raise kind("it is so: do this.") from OSError(28, "No space left on device")
    except SchangerError as error:
        copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.args) == ("it is so: do this.", ("it is so: do this.",))
