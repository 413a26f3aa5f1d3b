"""A new user's first hour: the commands of README and guides as they stand there, in fresh environments.

Each page begins with the files that it names, made of rendered scenes. `pip install schanger-edge` takes a fresh clone
of the last commit, as the README says, and happens in the clone. No environment has torch but that of the ML engineers'
guide, which gets the one that the Makefile pins. Times are of one run, and those of installing include downloads.

python benchmarks/first_hour.py [--only PAGE] [--pictures FOLDER]    # pictures to look at: report, QGIS, site
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import hour_pictures  # noqa: E402
from browser import BROWSER  # noqa: E402
from common import save  # noqa: E402
from guides import SHORTER, Block, fly_twice, lay_out_site, lay_out_station, lay_out_training, read_blocks  # noqa: E402
from qgis_user import PYTHON as SYSTEM_PYTHON  # noqa: E402
from qgis_user import has_qgis, install_plugin  # noqa: E402
from reports import decisions_of  # noqa: E402

SIDE = 1024
"""Pixels of the flights."""
PUBLISHED = re.compile(r"\b(levir-cd|s2looking|cdd|sysu-cd|whu-cd)\+?:(small|base)\b")
HAVE = {"network": True, "chromium": BROWSER is not None, "qgis": has_qgis()}
STARTS = {"schanger-edge --help": None, "import schanger_edge": ["-c", "import schanger_edge"]}


@dataclasses.dataclass(frozen=True)
class Step:
    """A command of a page, and how it went; `run` is what was run in its place, to save time."""

    page: str
    command: str
    skipped: str | None = None
    run: str | None = None
    seconds: float | None = None
    exit_code: int | None = None


class User:
    """Somebody with a home of their own, an empty one, and no Python environment at work."""

    def __init__(self, place: Path) -> None:
        self.home, self.clone = place / "home", place / "schanger-edge"
        self.home.mkdir()
        subprocess.run(["git", "clone", "-q", ROOT, self.clone], check=True)
        self.flights = fly_twice(place / "flights", SIDE)
        self.steps: list[Step] = []

    def environment(self, name: str) -> Path:
        """A virtual environment, fresh when it is first named."""
        folder = self.home / name
        if not folder.exists():
            subprocess.run([Path(sys.base_prefix) / "bin" / "python3", "-m", "venv", folder], check=True)
        return folder

    def call(self, command: str, folder: Path, environment: Path | None) -> subprocess.CompletedProcess[str]:
        """What a shell makes of a command; without an environment `python3` is the system's."""
        mine = ("PYTHON", "VIRTUAL_ENV", "OMP_", "XDG_", "SCHANGER_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        others = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != Path(sys.prefix) / "bin"]
        first = [environment / "bin", Path(sys.base_prefix) / "bin"] if environment else [Path(SYSTEM_PYTHON).parent]
        path = os.pathsep.join(map(str, [*first, *others]))
        env = {**kept, "HOME": str(self.home), "PATH": path, "QT_QPA_PLATFORM": "offscreen"}
        return subprocess.run(
            ["bash", "-euc", command], cwd=folder, env=env, text=True, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def do(self, page: str, command: str, folder: Path, environment: Path | None) -> None:
        """Run a command of a page, and note how it went."""
        run = command
        for written, shorter in SHORTER.get(Path(page).stem, {}).items():
            run = f"{run}\n".replace(written, shorter).removesuffix("\n")
        if installs(command):
            run, folder = re.sub(r"(pip install '?)schanger-edge", r"\1.", run), self.clone
        if shutil.which("qgis_process.bin"):  # Debian's qgis_process fails, see docs/qgis.md
            run = re.sub(r"^qgis_process ", "qgis_process.bin ", run)
        if "decisions.json" in command:
            accept_all(folder)
        print(f"{page}: {run}", flush=True)
        began = time.perf_counter()
        done = self.call(run, folder, environment)
        seconds = round(time.perf_counter() - began, 2)
        print(done.stdout if done.returncode else f"  {seconds} s", flush=True)
        self.steps.append(Step(page, command, None, run if run != command else None, seconds, done.returncode))

    def follow(self, page: str, folder: Path, environment: Path | None) -> None:
        """All commands of a page, in order, but those that need what is not here."""
        folder.mkdir(exist_ok=True)
        for block in read_blocks(ROOT / page):
            for command in commands_of(block, page):
                if reason := cannot(block, command):
                    self.steps.append(Step(page, command, reason))
                else:
                    self.do(page, command, folder, environment)


def commands_of(block: Block, page: str) -> list[str]:
    """The commands of a block: as few lines each as a shell takes for whole; the README's Python, too."""
    if block.kind == "python" and page == "README.md":
        return [f"python - <<'END'\n{block.text}END"]
    found, lines = [], list[str]()
    for line in block.text.splitlines() if block.kind == "sh" else []:
        lines.append(line)
        whole = subprocess.run(["bash", "-nc", "\n".join(lines)], capture_output=True, check=False).returncode == 0
        if whole and not line.endswith("\\"):
            found.append("\n".join(lines))
            lines = []
    return found


def cannot(block: Block, command: str) -> str | None:
    """Why a command is not run."""
    if block.needs is not None and not HAVE.get(block.needs, False):
        return f"needs {block.needs}"
    return "needs the hub of the published models" if PUBLISHED.search(command) else None


def installs(command: str) -> bool:
    return re.search(r"\bpip (install|wheel)\b", command) is not None


def accept_all(folder: Path) -> None:
    """The file that a review of the whole report saves: the last one is rejected."""
    summary = json.loads((folder / "result" / "summary.json").read_text())
    last = summary["polygons"]
    decided = [(number, "reject" if number == last else "accept") for number in range(1, last + 1)]
    (folder / "decisions.json").write_text(json.dumps(decisions_of(summary, *decided)))


def pinned_torch() -> str:
    found = re.search(r"^TORCH := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def guide(page: str, name: str | None, lay_out: Callable[[User, Path], Any]) -> Callable[[User, Path], None]:
    """How a page is followed: in which environment, with which files."""

    def follow(user: User, place: Path) -> None:
        folder = place / Path(page).stem
        folder.mkdir()
        lay_out(user, folder)
        user.follow(page, folder, user.environment(name) if name else None)

    return follow


def site(user: User, folder: Path) -> Any:
    return lay_out_site(user.flights, folder)


def plugin(user: User, folder: Path) -> None:
    """What the page has one do in QGIS's windows: install the ZIP file of `make qgis`, choose a Python."""
    site(user, folder)
    user.do("docs/qgis.md", "make qgis", user.clone, None)
    (packed,) = (user.clone / "build" / "qgis").glob("*.zip")
    install_plugin(user.home, packed, {"SCHANGER_EDGE_PROGRAM": str(user.home / "schanger-edge" / "bin" / "python")})


def training(user: User, folder: Path) -> None:
    lay_out_training(folder)
    user.do("docs/ml-engineers.md", f"pip install {pinned_torch()}", user.clone, user.environment("ml"))


PAGES = {
    "README.md": guide("README.md", "plain", site),
    "docs/drone-crews.md": guide("docs/drone-crews.md", "laptop", site),
    "docs/gis-analysts.md": guide("docs/gis-analysts.md", "plain", site),
    "docs/review.md": guide("docs/review.md", "plain", site),
    "docs/qgis.md": guide("docs/qgis.md", None, plugin),
    "docs/ground-stations.md": guide(
        "docs/ground-stations.md", "station", lambda user, folder: lay_out_station(user.flights, folder)
    ),
    "docs/ml-engineers.md": guide("docs/ml-engineers.md", "ml", training),
}


def packages(environment: Path) -> list[str]:
    listed = [environment / "bin" / "python", "-m", "pip", "list", "--format=freeze"]
    return subprocess.check_output(listed, text=True).split()


def starts(environment: Path) -> dict[str, float]:
    """Median seconds of seven starts, after one that warms the disk's cache."""
    found = {}
    for name, words in STARTS.items():
        program = environment / "bin" / ("python" if words else "schanger-edge")
        taken = []
        for _ in range(8):
            began = time.perf_counter()
            subprocess.run([program, *(words or ["--help"])], check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - began)
        found[name] = round(statistics.median(taken[1:]), 3)
    return found


def main(only: str | None, pictures: Path | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place, load = Path(folder), os.getloadavg()[0]
        user = User(place)
        for page in [only] if only else PAGES:
            PAGES[page](user, place)
        if pictures and not only:
            user.do("docs/contributing.md", "make docs", user.clone, None)
            pictures.mkdir(parents=True, exist_ok=True)
            hour_pictures.take(place / "review" / "result", user.clone / "build" / "site", pictures)
        made = sorted(path for path in user.home.iterdir() if (path / "pyvenv.cfg").exists())
        found = {path.name: packages(path) for path in made}
        with_torch = [name for name, listed in found.items() if any(one.startswith("torch==") for one in listed)]
        assert set(with_torch) <= {"ml"}, f"torch was installed in {with_torch}"
        if not only:
            steps = [{k: v for k, v in dataclasses.asdict(step).items() if v is not None} for step in user.steps]
            loads = [round(value, 1) for value in (load, os.getloadavg()[0])]
            result = {
                "side": SIDE,
                "load": loads,
                "starts": starts(user.home / "plain"),
                "steps": steps,
                "packages": found,
            }
            save("first_hour", {"method": __doc__, **result})
    if failed := [step for step in user.steps if step.exit_code]:
        raise SystemExit("\n".join(f"{step.page}: exit code {step.exit_code}: {step.command}" for step in failed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PAGES, help="follow one page, and write no result")
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    main(**vars(parser.parse_args()))
