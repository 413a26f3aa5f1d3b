"""The scripts in jetson/, on made-up boards."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_boards import JETSON, FakeBoard

from schanger_edge._version import __version__
from schanger_edge.bench.method import spread

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("dpkg-query") is None, reason="the scripts are for Linux with dpkg"
)

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
"""With the tools of the environment that runs the tests."""
APT = ["+ apt-get update", "+ apt-get install -y --no-install-recommends python3-venv python3-libnvinfer"]
DLA = "nvidia-l4t-dla-compiler"
VENV = "+ /usr/bin/python3 -m venv --system-site-packages /opt/schanger-edge"
HOLD_NUMPY = [
    "+ write 'numpy<2' /opt/schanger-edge/constraints.txt",
    r"+ write $'[install]\nconstraint = /opt/schanger-edge/constraints.txt' /opt/schanger-edge/pip.conf",
]
PIP = "+ /opt/schanger-edge/bin/python -m pip install REPO"
CHECK = [
    "+ /opt/schanger-edge/bin/python -c 'import numpy, tensorrt; print(tensorrt.__version__, numpy.__version__)'",
    "+ /opt/schanger-edge/bin/schanger-edge doctor",
]
SYSTEMD = [
    "systemd-sysusers schanger-edge.conf",
    "systemd-tmpfiles --create schanger-edge.conf",
    "systemctl daemon-reload",
]


@pytest.mark.parametrize(
    ("name", "jetpack", "comes_with", "pinned", "binding"),
    [
        ("Orin Nano 6.2", "6.2, L4T 36.4.3", "Python 3.10, TensorRT 10.3, CUDA 12", True, "'cuda-bindings>=12.9,<13'"),
        ("AGX Orin 6.0", "6.0, L4T 36.3.0", "Python 3.10, TensorRT 8.6, CUDA 12", True, "'cuda-bindings>=12.9,<13'"),
        ("Thor 7.1", "7.1, L4T 38.4.0", "Python 3.12, TensorRT 10.13, CUDA 13", False, "'cuda-bindings>=13,<14'"),
        ("Orin 7.2", "7.2, L4T 39.2.0", "Python 3.12, TensorRT 10.16, CUDA 13", False, "'cuda-bindings>=13,<14'"),
    ],
)
def test_the_steps_of_each_board(
    name: str, jetpack: str, comes_with: str, pinned: bool, binding: str, tmp_path: Path
) -> None:
    board = FakeBoard(tmp_path, name)
    result = board.run("install.sh", "--dry-run")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("board: NVIDIA Jetson ")
    assert lines[1:] == [
        f"JetPack: {jetpack}", f"JetPack's versions: {comes_with}",
        APT[0], f"{APT[1]} {DLA}" if jetpack.startswith("6") else APT[1], VENV, *(HOLD_NUMPY if pinned else ()),
        f"{PIP} {binding}", *CHECK,
    ]  # fmt: skip
    assert board.calls() == []
    assert not (board.root / "opt").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "AGX Orin 5.1.3",
            r"JetPack 5\.1\.3, L4T 35\.5\.0 is not supported, as its Python 3\.8 .* TensorRT 8\.5 .*: flash Jet",
        ),
        ("Xavier NX 5.1.3", r"JetPack 5\.1\.3, .*: JetPack 6 does not support this board; use an Orin or Thor\."),
        ("preview", r"JetPack 6\.0 DP, L4T 36\.2\.0 is a preview: install JetPack 6\.0 or later"),
        ("desktop", r"This machine is not a Jetson .*: install with pip install REPO as on any other machine"),
        ("Raspberry Pi", r"Raspberry Pi 5 Model B Rev 1\.0 is not a Jetson .*: install with"),
        (
            "unknown",
            r"JetPack unknown to this version, L4T 41\.1\.0: this version supports JetPack 6\.0 to 7\.2; use a",
        ),
    ],
)
def test_boards_that_are_refused(name: str, said: str, tmp_path: Path) -> None:
    board = FakeBoard(tmp_path, name)
    for arguments in ((), ("--dry-run",)):
        result = board.run("install.sh", *arguments)
        assert result.returncode == 2
        assert re.match(said, result.stderr)
        assert len(result.stderr.splitlines()) == 1
        assert "+ " not in result.stdout
    assert board.calls() == []


def test_pycuda_is_compiled_with_what_is_missing_for_it(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path, "Orin Nano 6.2", packages=("python3-venv", "python3-libnvinfer", DLA, "g++"))
    result = board.run("install.sh", "--dry-run", "--cuda", "pycuda", "--extras", "bench")
    assert "+ apt-get install -y --no-install-recommends python3-dev nvidia-jetpack" in result.stdout
    assert "+ /opt/schanger-edge/bin/python -m pip install 'REPO[bench]' pycuda" in result.stdout
    board.write("usr/local/cuda/bin/nvcc", "", 0o755)
    result = board.run("install.sh", "--dry-run", "--cuda", "pycuda")
    assert "+ apt-get install -y --no-install-recommends python3-dev\n" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cuda", "opencl"), "--cuda must be cuda-python or pycuda, not opencl."),
        (("--cuda",), "--cuda needs a value"),
        (("--venv", "here"), "--venv must be an absolute path"),
        (("--from", "no.whl"), "no.whl does not exist"),
        (("--fast",), "unknown option --fast"),
        (("--service", "--venv", "/srv/x"), "omit --venv with --service"),
    ],
)
def test_options_that_cannot_be_meant(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    result = FakeBoard(tmp_path, "Orin Nano 6.2").run("install.sh", "--dry-run", *arguments)
    assert result.returncode == 2
    assert said in result.stderr


def test_without_root_nothing_is_done(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path, "Orin Nano 6.2")
    board.command("id", "echo 1000")
    result = board.run("install.sh")
    assert (result.returncode, "run it with sudo" in result.stderr) == (2, True)
    assert board.run("install.sh", "--dry-run").returncode == 0
    assert not any("apt-get" in call for call in board.calls())


def installable(tmp_path: Path) -> FakeBoard:
    """A board on which `install.sh` runs through: apt, venv and pip leave what the real ones would."""
    board = FakeBoard(tmp_path, "Orin Nano 6.2")
    status = board.root / "var/lib/dpkg/status"
    board.command(
        "apt-get",
        f'[[ $1 == install ]] || exit 0; for name in "${{@:4}}"; do printf "Package: %s\\nStatus: install ok '
        f'installed\\nArchitecture: arm64\\nVersion: 1\\n\\n" "$name" >> {status}; done',
    )
    packages = "lib/python3.10/site-packages"
    pip = board.script(
        "pip",
        f'[[ $3 == install ]] && mkdir -p "${{0%/bin/python}}/{packages}"/'
        f"{{schanger_edge-{__version__},cuda_bindings-12.9.10,watchdog-6.0.0,prometheus_client-0.20.0}}.dist-info\n"
        "exit 0",
    )
    board.write("fake/python", pip, 0o755)
    board.write("fake/schanger-edge", board.script("schanger-edge"), 0o755)
    board.write(
        "usr/bin/python3",
        f'#!/bin/bash\nmkdir -p "$4/bin"\ncp {board.root}/fake/* "$4/bin"\n'
        'printf "include-system-site-packages = true\\nversion = 3.10.12\\n" > "$4/pyvenv.cfg"\n',
        0o755,
    )
    return board


def test_a_second_run_says_what_is_there(tmp_path: Path) -> None:
    board = installable(tmp_path)
    first = board.run("install.sh", "--service")
    assert (first.returncode, first.stderr) == (0, "")
    assert (board.root / "opt/schanger-edge/constraints.txt").read_text() == "numpy<2\n"
    assert (board.root / "etc/systemd/system/schanger-watch.service").exists()
    calls = board.calls()
    assert calls[1:3] == [
        "apt-get update",
        f"apt-get install -y --no-install-recommends python3-venv python3-libnvinfer {DLA}",
    ]
    assert calls[-3:] == SYSTEMD

    (board.root / "etc/schanger-edge/watch.env").write_text("INBOX=/mnt/drone\n")
    second = board.run("install.sh", "--service")
    assert second.returncode == 0
    steps = [line for line in second.stdout.splitlines() if line.startswith("+ ")]
    assert steps == [*CHECK, *(f"+ {step}" for step in SYSTEMD)]
    there = [line.removeprefix("already there: ") for line in second.stdout.splitlines() if "already there" in line]
    assert there == [
        f"python3-venv python3-libnvinfer {DLA}", "/opt/schanger-edge",
        "numpy<2 in /opt/schanger-edge/constraints.txt", f"schanger-edge {__version__}", "cuda-python",
        "/etc/sysusers.d/schanger-edge.conf", "/etc/tmpfiles.d/schanger-edge.conf",
        "/etc/schanger-edge/watch.env, left as it is", "/etc/systemd/system/schanger-watch.service",
        "/etc/systemd/system/schanger-clean.service", "/etc/systemd/system/schanger-clean.timer",
    ]  # fmt: skip
    assert (board.root / "etc/schanger-edge/watch.env").read_text() == "INBOX=/mnt/drone\n"
    assert PIP in board.run("install.sh", "--dry-run", "--reinstall").stdout


@pytest.mark.parametrize(
    ("library", "package", "said"),
    [(True, True, "libnvdla_compiler is there"), (False, True, ""), (False, False, f"no {DLA} in apt's sources")],
)
def test_the_image_of_jetpack_6_brings_the_library_that_tensorrt_loads(
    library: bool, package: bool, said: str, tmp_path: Path
) -> None:
    text = (JETSON / "Dockerfile.jetpack6").read_text().replace("\\\n", "")
    (command,) = re.findall(r"if ldconfig .*? fi(?= )", text)
    board = FakeBoard(tmp_path, "desktop")
    board.command("ldconfig", f"[[ $1 != -p ]] || echo {'libnvdla_compiler.so' if library else 'others.so'}")
    board.command("apt-get", f"touch {DLA}_1_arm64.deb" if package else "exit 100")
    lies = board.root / "usr/lib/aarch64-linux-gnu/nvidia"
    board.command("dpkg-deb", f"mkdir -p {lies}; touch {lies}/libnvdla_compiler.so")
    board.write("etc/ld.so.conf.d/nvidia.conf", "")
    (board.root / "usr/lib").mkdir(parents=True)
    for name in ("/etc/", "/usr/lib"):
        command = command.replace(name, f"{board.root}{name}")
    command = command.replace("cd /tmp", f"cd {tmp_path}")
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stdout.startswith(said)
    assert bool(done.stdout) == bool(said)
    searched = board.root / "etc/ld.so.conf.d/schanger-dla.conf"
    assert searched.exists() == (not library and package)
    if searched.exists():
        assert searched.read_text() == f"{lies}\n"
        assert board.calls()[-1].strip() == "ldconfig"
    assert not list(tmp_path.glob("*.deb"))


def test_a_wheel_of_the_same_version_is_installed_too(tmp_path: Path) -> None:
    board = installable(tmp_path)
    wheel = board.write("schanger_edge.whl", "")
    board.run("install.sh")
    said = board.run("install.sh", "--dry-run", "--from", str(wheel)).stdout
    assert "-m pip install --no-deps --force-reinstall /schanger_edge.whl\n" in said


def test_an_environment_that_the_units_don_t_start_is_refused_first(tmp_path: Path) -> None:
    board = installable(tmp_path)
    result = board.run("install.sh", "--service", "--venv", "/srv/x")
    assert (result.returncode, result.stdout) == (2, "")
    assert "omit --venv with --service" in result.stderr
    assert board.calls() == []


def test_the_watch_s_unit_lets_the_gpu_s_devices_in() -> None:
    """Up to systemd 251, thus on JetPack 6, ProtectClock shuts out every device that is not named."""
    unit = (JETSON / "systemd" / "schanger-watch.service").read_text()
    settings = [line.partition("=")[0] for line in unit.splitlines() if not line.startswith("#")]
    assert not {"ProtectClock", "PrivateDevices", "DevicePolicy", "DeviceAllow"} & set(settings)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("include-system-site-packages = false\nversion = 3.10.12\n", "created without --system-site-packages"),
        (
            "include-system-site-packages = true\nversion = 3.8.10\n",
            "uses Python 3.8, but JetPack's is 3.10: remove it",
        ),
    ],
)
def test_an_environment_that_cannot_serve(config: str, said: str, tmp_path: Path) -> None:
    board = FakeBoard(tmp_path, "Orin Nano 6.2")
    board.write("opt/schanger-edge/pyvenv.cfg", config)
    result = board.run("install.sh", "--dry-run")
    assert result.returncode == 2
    assert said in result.stderr


@pytest.mark.parametrize(
    ("megabytes", "options"),
    [
        (4000, "--batch 1 --optimization-level 2"),
        (8000, "--batch 1 --optimization-level 3"),
        (64000, ""),
    ],
)
def test_engines_are_built_with_what_the_memory_allows(megabytes: int, options: str, tmp_path: Path) -> None:
    board = FakeBoard(tmp_path, "Orin Nano 6.2", megabytes=megabytes)
    result = board.run("build_engines.sh", "--dry-run")
    assert result.stdout.splitlines()[1:] == [
        f"+ /opt/schanger-edge/bin/schanger-edge build schanger-small-fp16 {options}".rstrip()
    ]
    result = board.run("build_engines.sh", "--dry-run", "-o", "plans", "--check", "mine,split=val", "a/m.onnx")
    assert result.stdout.splitlines()[1:] == [
        "+ mkdir -p plans",
        " ".join(f"+ /opt/schanger-edge/bin/schanger-edge build a/m.onnx {options} --timing-cache".split())
        + " plans/timing.cache -o plans/m.plan",
        "+ /opt/schanger-edge/bin/schanger-edge compare a/m.onnx plans/m.plan --data mine,split=val "
        "-o plans/m.compare.json",
    ]
    assert board.run("build_engines.sh").returncode == 2


MODES = "".join(
    f"< POWER_MODEL ID={number} NAME={name} >\nCPU_ONLINE CORE_0 1\n"
    for number, name in enumerate(("15W", "25W", "MAXN_SUPER", "7W"))
)
BENCH = {
    "speed": [
        {"device": "cuda", "model": "m", "batch": 1, "megapixels_per_second": spread([1.0, 2.0, 3.0]),
         "joules_per_km2": None, "energy_of": None},
    ],
    "end_to_end": [],
}  # fmt: skip


def with_power_modes(tmp_path: Path) -> FakeBoard:
    """A board in mode 1 whose mode 3 needs a restart; bench tells as many joules as the mode's number and one."""
    board = FakeBoard(tmp_path, "Orin Nano 6.2")
    board.write("etc/nvpmodel.conf", MODES)
    state = board.write("state", "1\n")
    board.command(
        "nvpmodel",
        f'case $1 in -q) printf "NV Power Mode: x\\n"; cat {state} ;; '
        f'-m) [[ $2 == 3 ]] && read -r answer; [[ $2 == 3 && $answer != YES ]] || echo "$2" > {state} ;; esac',
    )
    board.command("jetson_clocks", '[[ $1 != --store ]] || echo clocks > "$2"')
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps(BENCH))
    board.write(
        "opt/schanger-edge/bin/schanger-edge",
        board.script(
            "schanger-edge",
            f'folder=${{@: -1}}; mkdir -p "$folder"; joules=$(( $(cat {state}) + 1 ))\n'
            f'sed "s/\\"joules_per_km2\\": null/\\"joules_per_km2\\": {{\\"median\\": $joules, \\"low\\": 0.5, '
            f'\\"high\\": 9, \\"n\\": 5}}/" {bench} > "$folder/bench.json"',
        ),
        0o755,
    )
    (board.root / "opt/schanger-edge/bin/python").symlink_to(sys.executable)
    return board


def test_a_sweep_measures_each_mode_and_restores_the_old_one(tmp_path: Path) -> None:
    board = with_power_modes(tmp_path)
    result = board.run("power.sh", "sweep", "--clocks", "-o", "power", "--", "--device", "cuda", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "power/power.json").read_text())
    assert [(row["mode"], row["joules_per_km2"]["median"]) for row in rows] == [
        ("0-15W", 1), ("1-25W", 2), ("2-MAXN_SUPER", 3),
    ]  # fmt: skip
    assert "| 1-25W | network | cuda | m | 1 | 2 | 2 (0.5 to 9) | 5 | - |" in result.stdout
    assert "not measured, because they need a restart: 3." in result.stdout
    assert result.stdout.splitlines()[-1] == "restored: mode 1 25W"
    assert (board.root / "state").read_text() == "1\n"
    clocks = [call.split("/")[0].strip() for call in board.calls() if "jetson_clocks" in call]
    assert clocks == ["jetson_clocks --store", *["jetson_clocks"] * 3, "jetson_clocks --restore"]
    assert "already there: power/0-15W/bench.json" in board.run("power.sh", "sweep", folder=tmp_path).stdout


@pytest.mark.parametrize("ending", ["exit 7", "kill -TERM $PPID; sleep 1"])
def test_the_old_mode_comes_back_after_a_failure_and_a_signal(ending: str, tmp_path: Path) -> None:
    board = with_power_modes(tmp_path)
    board.write("opt/schanger-edge/bin/schanger-edge", board.script("schanger-edge", ending), 0o755)
    result = board.run("power.sh", "sweep", "--modes", "MAXN_SUPER", "--clocks", folder=tmp_path)
    assert result.returncode == (7 if ending == "exit 7" else 128 + signal.SIGTERM)
    assert (board.root / "state").read_text() == "1\n"
    assert any(call.startswith("jetson_clocks --restore") for call in board.calls())


def test_power_modes_are_shown_and_set_by_name(tmp_path: Path) -> None:
    board = with_power_modes(tmp_path)
    shown = board.run("power.sh", "show").stdout.splitlines()
    assert shown[1:] == ["  0 15W", "* 1 25W", "  2 MAXN_SUPER", "  3 7W"]
    assert board.run("power.sh", "set", "MAXN_SUPER", "--clocks").returncode == 0
    assert (board.root / "state").read_text() == "2\n"
    assert board.calls()[-1].strip() == "jetson_clocks"
    for arguments, said in (
        (("set", "99W"), "there is no power mode 99W here"), (("set", "3"), "mode 3 needs a restart"),
        (("set",), "no mode given"), ((), "use show, set or sweep"), (("sweep", "-x"), "unknown option -x"),
    ):  # fmt: skip
        result = board.run("power.sh", *arguments)
        assert (result.returncode, said in result.stderr) == (2, True), result.stderr
    before = board.calls()
    dry = board.run("power.sh", "sweep", "--dry-run", "--modes", "0,3").stdout
    assert "+ nvpmodel -m 0\n" in dry
    assert "+ nvpmodel -m 3\n" in dry
    assert not [call for call in board.calls()[len(before) :] if "-m" in call]


def test_elsewhere_there_are_no_power_modes(tmp_path: Path) -> None:
    result = FakeBoard(tmp_path, "desktop").run("power.sh", "show")
    assert (result.returncode, result.stderr) == (
        2, "nvpmodel not found: only a Jetson has power modes.\n",
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    units = []
    for path in (JETSON / "systemd").glob("schanger-*.[st]*"):
        if path.suffix in {".service", ".timer"}:
            text = path.read_text().replace("/opt/schanger-edge/bin/schanger-edge", "/bin/true")
            units.append(tmp_path / path.name)
            units[-1].write_text(text)
    assert len(units) == 3
    found = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    for name, exposure in (("schanger-watch.service", "25"), ("schanger-clean.service", "10")):  # tenths
        subprocess.run(
            ["systemd-analyze", "security", "--offline=true", f"--threshold={exposure}", tmp_path / name],
            check=True, capture_output=True,
        )  # fmt: skip


@pytest.mark.parametrize(("days", "left"), [("30", {"new", "bad", "scene", "result"}), ("-1", {"scene", "result"})])
def test_the_clean_up_takes_quarantine_and_unread_plans_alone(days: str, left: set[str], tmp_path: Path) -> None:
    names = ("cache/engines/new", "out/quarantine/bad", "inbox/scene", "out/results/a/result")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    unit = (JETSON / "systemd/schanger-clean.service").read_text()
    commands = re.findall(r"^ExecStart=-(.*)$", unit, re.M)
    assert len(commands) == 2
    for command in commands:
        for old, new in (
            ("${OUT}", f"{tmp_path}/out"), ("/var/cache/schanger-edge", f"{tmp_path}/cache"),
            ("${QUARANTINE_DAYS}", days), ("${PLAN_DAYS}", days),
        ):  # fmt: skip
            command = command.replace(old, new)  # noqa: PLW2901
        subprocess.run(command.split(), check=True, capture_output=True)
    assert {name.rsplit("/", 1)[1] for name in names if (tmp_path / name).exists()} == left


def test_the_watch_service_asks_for_what_its_settings_name() -> None:
    unit = (JETSON / "systemd/schanger-watch.service").read_text()
    settings = set(re.findall(r"^(\w+)=", (JETSON / "systemd/watch.env").read_text(), re.M))
    both = unit + (JETSON / "systemd/schanger-clean.service").read_text()
    assert set(re.findall(r"\$\{?([A-Z_]+)\}?", both)) == settings


def test_the_proof_on_emulated_arm_says_what_it_needs(tmp_path: Path) -> None:
    board = FakeBoard(tmp_path, "desktop")
    assert "unknown option --fast" in board.run("emulated_arm64.sh", "--fast").stderr
    board.command("id", "echo 1000")
    result = board.run("emulated_arm64.sh")
    assert (result.returncode, "needs root: run it with sudo" in result.stderr) == (2, True)
    assert not (JETSON.parent / "benchmarks/results/arm64.json.part").exists()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("uv", path=PATH) is None, reason="uv is not on the path: pip install uv")
@pytest.mark.parametrize("target", ["3.10/aarch64", "3.10/x86_64", "3.12/aarch64", "3.12/x86_64"])
def test_every_runtime_dependency_has_a_wheel(target: str) -> None:
    result = subprocess.run(
        ["bash", JETSON / "wheels.sh", target], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": PATH},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    python, architecture = target.split("/")
    assert f"Python {python}, {architecture}: " in result.stdout
    assert "onnxruntime==" in result.stdout
    numpy = re.search(r"numpy==(\d+)", result.stdout)
    assert numpy is not None
    assert (int(numpy[1]) < 2) == (python == "3.10")
