"""torch's files read without torch: every format it writes, and nothing that could run code."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from schanger_edge.errors import CheckpointError  # noqa: E402
from schanger_export.checkpoints import load_weights, read_state_dict  # noqa: E402
from schanger_export.torch_file import DamagedError, RefusedError, read  # noqa: E402

FORMATS = [(True, 2), (True, 3), (True, 4), (True, 5), (False, 2), (False, 4)]


def content() -> dict[str, Any]:
    """What a training checkpoint is made of."""
    torch.manual_seed(0)
    base = torch.randn(4, 6)
    tensors = {
        "plain": base, "transposed": base.t(), "part": base[1:3, ::2], "shared": base, "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3), "bool": torch.tensor([True, False]), "byte": torch.arange(9, dtype=torch.uint8),
        "half": base.half(), "double": base.double(), "parameter": torch.nn.Parameter(torch.randn(3)),
    }  # fmt: skip
    options = {"lr": 1e-3, "name": "x", "betas": (0.9, 0.999), "none": None, "raw": b"\x00\xff", "large": 1 << 70}
    return {"state_dict": OrderedDict(tensors), "training": {"options": options, "groups": [[0, 1], {"step": 3}]}}


@pytest.mark.parametrize(("zipped", "protocol"), FORMATS)
def test_every_format(tmp_path: Path, zipped: bool, protocol: int) -> None:
    wanted, path = content(), tmp_path / "c.pth"
    torch.save(wanted, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = read(path)
    assert found["training"] == wanted["training"]
    assert list(found["state_dict"]) == list(wanted["state_dict"])
    for name, tensor in wanted["state_dict"].items():
        value, array = found["state_dict"][name], tensor.detach().numpy()
        assert value.dtype == array.dtype, name
        assert value.shape == array.shape, name
        assert np.array_equal(value, array), name
        assert value.flags.writeable, name


@pytest.mark.parametrize("zipped", [True, False])
def test_bfloat16_becomes_float32(tmp_path: Path, zipped: bool) -> None:
    values = torch.randn(5, 3).bfloat16()
    torch.save({"x": values}, tmp_path / "c.pth", _use_new_zipfile_serialization=zipped)
    found = read(tmp_path / "c.pth")["x"]
    assert found.dtype == np.float32
    assert np.array_equal(found, values.float().numpy())


def test_a_module_s_state_dict_with_its_versions(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "c.pth")
    found = read(tmp_path / "c.pth")
    assert found["1.num_batches_tracked"].shape == ()
    assert all(np.array_equal(found[name], value.numpy()) for name, value in module.state_dict().items())


@pytest.mark.parametrize("form", [lambda state: {"state_dict": state}, lambda state: state])
@pytest.mark.parametrize("prefix", ["", "network.", "module.network."])
def test_state_dicts_bare_or_not(weights: Any, tmp_path: Path, form: Any, prefix: str) -> None:
    state = weights("small")
    torch.save(form({prefix + name: value for name, value in state.items()}), tmp_path / "c.pth")
    size, found = load_weights(tmp_path / "c.pth")
    assert size == "small"
    assert found.keys() == state.keys()
    assert np.array_equal(found["Bi1.0.norm1.running_var"], state["Bi1.0.norm1.running_var"].numpy())


class Evil:
    """Runs code where a careless reader loads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


@pytest.mark.parametrize(("zipped", "protocol"), FORMATS)
def test_pickled_code_does_not_run(tmp_path: Path, zipped: bool, protocol: int) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pth"
    evil = {"state_dict": {"x": torch.zeros(1)}, "extra": Evil(marker)}
    torch.save(evil, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(RefusedError, match=r"^(builtins|__builtin__)\.exec$"):
        read(path)
    with pytest.raises(CheckpointError, match=r"could run code and are refused \((builtins|__builtin__)\.exec\)"):
        read_state_dict(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "builtins.getattr", "torch.load", "torch.FloatStorage.x", "torch._utils.sys"]
)
def test_names_off_the_list_are_refused_even_uncalled(tmp_path: Path, name: str) -> None:
    module, _, attribute = name.partition(".")
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("c/data.pkl", f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(RefusedError):
        read(tmp_path / "c.pth")


def test_a_function_cannot_be_changed_by_a_pickle(tmp_path: Path) -> None:
    from schanger_export.torch_file import _tensor

    defaults = _tensor.__defaults__, _tensor.__kwdefaults__
    code = b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__defaults__'\n(I1\ntstb."
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("c/data.pkl", code)
    with pytest.raises(DamagedError):
        read(tmp_path / "c.pth")
    assert (_tensor.__defaults__, _tensor.__kwdefaults__) == defaults


@pytest.mark.parametrize(("zipped", "cut"), [(True, 0.5), (True, 0.99), (False, 0.2), (False, 0.9)])
def test_cut_files(tmp_path: Path, zipped: bool, cut: float) -> None:
    path = tmp_path / "c.pth"
    torch.save(content(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    with pytest.raises(DamagedError):
        read(path)


@pytest.mark.parametrize(
    ("offset", "size", "stride"), [(0, (9,), (1,)), (-1, (2,), (1,)), (0, (3,), (-1,)), (5, (4,), (1,))]
)
def test_a_tensor_beyond_its_storage(tmp_path: Path, offset: int, size: Any, stride: Any) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 8) if isinstance(value, Wanted) else None

    class Wanted:
        def __reduce__(self) -> Any:
            return Wanted, ()

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Wanted(), offset, size, stride, False, OrderedDict())

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump({"x": Tensor()})
    with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
        archive.writestr("c/data.pkl", buffer.getvalue())
        archive.writestr("c/data/0", bytes(32))
    with pytest.raises(DamagedError, match="beyond its storage"):
        read(tmp_path / "c.pth")


def test_reading_loads_no_torch() -> None:
    code = (
        "import sys; from schanger_export import checkpoints, to_onnx; "
        "from schanger_export.weights import resolve; checkpoints.load_weights(resolve('schanger-small')); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
