"""Batches on real local Dask clusters of two processes."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import logging
import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet
import pyogrio
import pystac
import pytest
import rasterio
from affine import Affine
from distributed import Client, LocalCluster, default_client
from distributed.core import error_message
from distributed.security import Security
from helpers import ROOT, load_benchmark, validate
from rasterio._err import CPLE_OpenFailedError
from typer.testing import CliRunner

from schanger_edge import detect
from schanger_edge._version import __version__
from schanger_edge.batch.cluster import Size, dashboard_of, opened
from schanger_edge.batch.options import Cluster
from schanger_edge.batch.outcome import RECORD
from schanger_edge.batch.results import Batch
from schanger_edge.batch.service import Listener, batch
from schanger_edge.batch.worker import WarmSession, _portable
from schanger_edge.cli import app
from schanger_edge.errors import ModelError, ProductError, SchangerError, StoppedError
from schanger_edge.products.journal import unfinished
from schanger_edge.run import predict
from schanger_edge.run.options import Engine

Ground = Callable[..., Any]
ZONES = {"p0": "EPSG:32631", "p1": "EPSG:32631", "p2": "EPSG:32632"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0, silence_logs=logging.CRITICAL
    ) as found:
        yield found


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=64, halo=4)
    return tmp_path / "m.onnx"


def write(path: Path, data: Any, crs: str | None = "EPSG:32631") -> None:
    profile = {"driver": "GTiff", "count": 3, "height": data.shape[1], "width": data.shape[2], "dtype": "uint8"}
    if crs is not None:
        profile |= {"crs": crs, "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(data)


@pytest.fixture
def pairs(tmp_path: Path, ground: Ground) -> Path:
    """Three good pairs in two zones, the last without dates, and one whose file is damaged."""
    rows = []
    for number, (name, crs) in enumerate(ZONES.items()):
        for date, seed in (("a", number), ("b", 10 + number)):
            write(tmp_path / f"{date}{number}.tif", ground(110, 100, seed), crs)
        dates = "2020-01-01,2021-06-01" if number < 2 else ","
        rows.append(f"a{number}.tif,b{number}.tif,{name},{dates}")
    (tmp_path / "bad.tif").write_bytes((tmp_path / "a0.tif").read_bytes()[:2000])
    rows.insert(1, "bad.tif,b0.tif,poison,,")
    (tmp_path / "pairs.csv").write_text("\n".join(["before,after,id,before_date,after_date", *rows]) + "\n")
    return tmp_path / "pairs.csv"


@pytest.fixture
def run(cluster: LocalCluster, pairs: Path, model: Path, tmp_path: Path) -> Callable[..., Batch]:
    def run(listed: Path = pairs, **options: Any) -> Batch:
        options = {"scheduler": cluster.scheduler_address, "retries": 1, **options}
        who = {name: options.pop(name) for name in ("scheduler", "workers", "retries", "split") if name in options}
        listener = Listener()
        if "on_cluster" in options:
            listener.cluster = options.pop("on_cluster")  # type: ignore[method-assign]
        if "progress" in options:
            listener.progress = options.pop("progress")  # type: ignore[method-assign]
        own = {"threads": 1, "model": model, "device": "cpu", **options}
        return batch(listed, tmp_path / "out", cluster=Cluster(**who), listener=listener, **own)

    return run


def statuses(result: Batch) -> dict[str, str]:
    return {outcome.id: outcome.status for outcome in result.outcomes}


def test_pairs_equal_single_runs_and_the_damaged_one_is_told(
    run: Callable[..., Batch], model: Path, tmp_path: Path
) -> None:
    content = load_benchmark("kill_resume").content
    done: list[tuple[int, int]] = []
    result = run(progress=lambda count, total: done.append((count, total)))
    assert statuses(result) == {"p0": "done", "poison": "failed", "p1": "done", "p2": "done"}
    assert "tried 2 times: " in str(result.failed[0].reason)
    assert "bad.tif cannot be read: it is damaged" in str(result.failed[0].reason)
    assert done == [(count, 4) for count in range(5)]
    for number in range(3):
        single = detect(
            tmp_path / f"a{number}.tif",
            tmp_path / f"b{number}.tif",
            tmp_path / f"s{number}",
            model=model,
            device="cpu",
            threads=1,
        )
        assert content(tmp_path / "out" / f"p{number}") == content(single.folder)
        assert result.outcomes[number + (number > 0)].polygons == single.polygons


def test_what_sums_up(run: Callable[..., Batch], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run()
    table = pyarrow.parquet.read_table(out / "results.parquet").to_pylist()
    assert [row["id"] for row in table] == ["p0", "poison", "p1", "p2"]
    assert [row["reason"] is None for row in table] == [True, False, True, True]
    summary = json.loads((out / "p0" / "summary.json").read_text())
    assert table[0]["changed_m2"] == summary["area_m2"]["changed"] > 0
    assert [row["id"] for row in csv.DictReader((out / "results.csv").open())] == [row["id"] for row in table]

    frame = pyogrio.raw.read(out / "changes.gpkg", layer="changes")
    info = pyogrio.read_info(out / "changes.gpkg", layer="changes")
    assert (info["crs"], result.crs) == ("EPSG:4326", "EPSG:4326")  # of two zones
    names = dict(zip(info["fields"], frame[3], strict=True))["pair"]
    counts = {outcome.id: outcome.polygons for outcome in result.outcomes if outcome.polygons}
    assert dict(zip(*np.unique(names.astype(str), return_counts=True), strict=True)) == counts
    assert result.polygons == sum(counts.values())
    with contextlib.closing(sqlite3.connect(out / "changes.gpkg")) as package:
        assert package.execute("PRAGMA user_version").fetchone() == (10200,)  # as each pair's own
    west, south, east, north = info["total_bounds"]
    assert (west, east) == pytest.approx((3, 9), abs=0.001)  # central meridians
    assert 41.9 < south < north < 42.1

    collection = pystac.Collection.from_file(str(out / "collection.json"))
    collection.validate()
    items = list(collection.get_items())
    assert [item.id for item in items] == ["p0", "p1"]
    for item in items:
        validate(item)
        assert item.get_collection().id == collection.id
    assert collection.extent.temporal.to_dict()["interval"][0] == ["2020-01-01T00:00:00Z", "2021-06-01T23:59:59Z"]
    assert result.items == 2
    assert "1 of 3 pairs are not in collection.json" in result.notes[0]


def test_what_is_done_is_left_alone(run: Callable[..., Batch], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run()
    times = {path: path.stat().st_mtime_ns for path in out.glob("p*/change.tif")}
    again = run()
    assert statuses(again) == {"p0": "kept", "poison": "failed", "p1": "kept", "p2": "kept"}
    assert {path: path.stat().st_mtime_ns for path in out.glob("p*/change.tif")} == times
    assert again.polygons == sum(outcome.polygons or 0 for outcome in again.outcomes)

    os.utime(tmp_path / "b0.tif", ns=(1, 1))
    (out / "p1" / "report.html").unlink()
    changed = run()
    assert statuses(changed) == {"p0": "done", "poison": "failed", "p1": "done", "p2": "kept"}
    assert [one.reason for one in changed.outcomes if one.status == "done"] == [
        "run again: after differed from last time", "run again: missing report.html",
    ]  # fmt: skip
    detect(tmp_path / "a2.tif", tmp_path / "b2.tif", out / "p2", model=out.parent / "m.onnx", threshold=0.9)
    (by_hand,) = [one for one in run().outcomes if one.status == "done"]
    assert (by_hand.id, by_hand.reason) == ("p2", "run again: the results are from another run")

    old = out / "p0" / RECORD  # of a version that made no project
    old.write_text(old.read_text().replace(f'"version": "{__version__}"', '"version": "0.1.0"'))
    (out / "p0" / "result.qgz").unlink()
    (out / "p1" / RECORD).unlink()
    assert {one.id: one.reason for one in run().outcomes if one.status == "done"} == {
        "p0": f"run again: the results are of version 0.1.0, this is {__version__}",
        "p1": f"run again: no batch has recorded the results there, of version {__version__}",
    }
    assert set(statuses(run(restart=True)).values()) == {"done", "failed"}


def test_a_call_that_begins_nothing_costs_nothing(run: Callable[..., Batch]) -> None:
    run()

    def stop(workers: int, dashboard: str | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(threshold=0.9, on_cluster=stop)
    assert statuses(run()) == {"p0": "kept", "poison": "failed", "p1": "kept", "p2": "kept"}


def test_an_unfinished_pair_with_other_options_begins_anew(
    run: Callable[..., Batch], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(predict, "SECTION", 1)
        answers = itertools.chain([False], itertools.repeat(True))
        detect(
            tmp_path / "a0.tif",
            tmp_path / "b0.tif",
            out / "p0",
            model=model,
            device="cpu",
            threshold=0.9,
            stop=lambda: next(answers),
        )
    assert unfinished(out / "p0")
    result = run()
    assert statuses(result)["p0"] == "done"
    single = detect(tmp_path / "a0.tif", tmp_path / "b0.tif", tmp_path / "single", model=model, device="cpu", threads=1)
    content = load_benchmark("kill_resume").content
    assert content(out / "p0") == content(single.folder)


def test_batches_that_share_a_cluster_keep_their_models_apart(
    run: Callable[..., Batch], pairs: Path, model: Path, standin: ModuleType, cluster: LocalCluster, tmp_path: Path
) -> None:
    standin.integer_model(tmp_path / "other.onnx", radius=1, tile=64, halo=4)

    def second(workers: int, dashboard: str | None) -> None:
        who = Cluster(cluster.scheduler_address, retries=0)
        batch(pairs, tmp_path / "second", cluster=who, model=tmp_path / "other.onnx", device="cpu", threads=1)

    assert statuses(run(on_cluster=second))["p0"] == "done"
    for folder, own in (("out", model), ("second", tmp_path / "other.onnx")):
        summary = json.loads((tmp_path / folder / "p0" / "summary.json").read_text())
        assert summary["model"]["sha256"] == hashlib.sha256(own.read_bytes()).hexdigest()


def test_a_list_of_which_nothing_succeeds(run: Callable[..., Batch], tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("before,after,id\nbad.tif,b0.tif,poison\n")
    result = run(tmp_path / "bad.csv")
    assert (statuses(result), result.polygons, result.items) == ({"poison": "failed"}, 0, 0)
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == ["results.csv", "results.parquet"]


def test_workers_that_differ_do_not_share_a_scene(run: Callable[..., Batch], tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("before,after,id\na0.tif,b0.tif,p0\n")

    def meddle(workers: int, dashboard: str | None) -> None:
        client = default_client()
        for cores, address in enumerate(client.nthreads(), 1):
            client.run(have_cores, cores, workers=[address])

    def undo(workers: int, dashboard: str | None) -> None:
        default_client().run(have_cores, 1)

    with pytest.raises(SchangerError, match=r"workers that compute alike, and these differ \(ONNX Runtime.*set --thr"):
        run(tmp_path / "one.csv", split=True, threads=None, on_cluster=meddle)
    assert not (tmp_path / "out" / "p0").exists()
    assert statuses(run(tmp_path / "one.csv", split=True, threads=None, on_cluster=undo)) == {"p0": "done"}


def test_a_scene_over_two_workers_gives_the_bytes_of_one_run(
    run: Callable[..., Batch], model: Path, ground: Ground, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        write(tmp_path / f"large_{name}.tif", ground(1300, 120, seed))
    (tmp_path / "large.csv").write_text("before,after,id\nlarge_a.tif,large_b.tif,large\n")
    result = run(tmp_path / "large.csv", split=True)
    assert statuses(result) == {"large": "done"}
    single = detect(
        tmp_path / "large_a.tif", tmp_path / "large_b.tif", tmp_path / "s", model=model, device="cpu", threads=1
    )
    tiles = json.loads((tmp_path / "out" / "large" / "summary.json").read_text())["tiles"]
    assert tiles["taken_over"] == tiles["run"] + tiles["skipped"]  # all of it was done in parts
    content = load_benchmark("kill_resume").content
    assert content(tmp_path / "out" / "large") == content(single.folder)
    assert not list((tmp_path / "out" / "large").glob(".schanger-edge.parts"))


def die_of_p1() -> None:
    """On a worker: the next time it is given p1, it is killed."""
    from schanger_edge.batch import worker

    detect = worker.detect

    def deadly(before: str, *arguments: Any, **options: Any) -> Any:
        if before.endswith("a1.tif"):
            os.kill(os.getpid(), 9)
        return detect(before, *arguments, **options)

    worker.detect = deadly  # type: ignore[assignment]


def have_cores(count: int) -> None:
    """On a worker: from now on it has so many."""
    from schanger_edge.sessions import ort

    ort.available_cores = lambda: count


@pytest.mark.parametrize(("failures", "status"), [(3, "done"), (0, "failed")])
def test_a_worker_that_dies(
    failures: int, status: str, run: Callable[..., Batch], cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", failures)

    def meddle(workers: int, dashboard: str | None) -> None:
        default_client().run(die_of_p1)

    result = run(on_cluster=meddle)
    assert statuses(result) == {"p0": "done", "poison": "failed", "p1": status, "p2": "done"}
    if failures == 0:
        assert "1 workers died while running it" in str(result.failed[1].reason)


def test_pairs_without_a_place_are_left_out_of_the_merged_polygons(
    run: Callable[..., Batch], ground: Ground, tmp_path: Path
) -> None:
    for name, seed in (("a3", 1), ("b3", 2)):
        write(tmp_path / f"{name}.tif", ground(80, 80, seed), None)
    (tmp_path / "two.csv").write_text("before,after,id\na3.tif,b3.tif,plain\na2.tif,b2.tif,placed\n")
    result = run(tmp_path / "two.csv")
    assert (result.crs, result.polygons) == ("EPSG:32632", result.outcomes[1].polygons)
    assert "changes.gpkg omits plain" in result.notes[0]
    (tmp_path / "one.csv").write_text("before,after,id\na3.tif,b3.tif,plain\n")
    alone = run(tmp_path / "one.csv")
    assert (alone.crs, alone.polygons) == (None, alone.outcomes[0].polygons)


def test_the_command_starts_its_own_workers(pairs: Path, model: Path, tmp_path: Path) -> None:
    arguments = ["batch", str(pairs), "-o", str(tmp_path / "out"), "--model", str(model), "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, "--workers", "2", "--retries", "0"])
    assert result.exit_code == 1
    assert "pairs: 3 done, 0 already done, 1 failed" in result.output
    assert "poison: " in result.output
    assert "2 workers; dashboard: " in result.output
    again = CliRunner().invoke(app, [*arguments, "--scheduler", "tcp://127.0.0.1:1x"])
    assert isinstance(again.exception, SchangerError)
    assert "no Dask scheduler answers at tcp://127.0.0.1:1x" in str(again.exception)
    assert (tmp_path / "out" / "results.csv").exists()


def test_workers_of_this_machine_listen_to_nobody_else() -> None:
    """A scheduler runs the code of whoever can talk to it."""
    with opened(Cluster(workers=1), Size(1, 1, 0)) as client:
        address = client.scheduler.address
        assert address.startswith("tls://127.0.0.1:")
        assert client.submit(sum, (1, 2)).result() == 3
        assert dashboard_of(client) is None
        for other, security in ((address.replace("tls", "tcp"), None), (address, Security.temporary())):
            with pytest.raises((OSError, TimeoutError)):
                Client(other, timeout=2, security=security)


def test_bad_options_begin_nothing(run: Callable[..., Batch], pairs: Path, model: Path, tmp_path: Path) -> None:
    for options, match in (
        ({"retries": -1}, "--retries must be"), ({"scheduler": None, "workers": 0}, "--workers must be at least 1"),
        ({"threshold": 2}, "threshold must be at least 0 and less than 1, not 2"),
        ({"model": "none.onnx"}, "model none.onnx does not"),
    ):  # fmt: skip
        with pytest.raises(SchangerError, match=match):
            run(**options)
    assert not (tmp_path / "out").exists()


def test_a_model_that_does_not_open_is_told_once(run: Callable[..., Batch], tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"broken\.onnx is no ONNX model, or is damaged"):
        run(model=tmp_path / "broken.onnx")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [SchangerError, *SchangerError.__subclasses__(), *ProductError.__subclasses__()])
def test_errors_travel_between_processes(kind: type[SchangerError]) -> None:
    """Those of a task come without the error of GDAL that caused them, which cannot be pickled."""

    @_portable()
    def fail() -> None:
        try:
            raise CPLE_OpenFailedError(1, 4, "no such file")
        except CPLE_OpenFailedError as error:
            raise kind("it cannot be read: get a fresh copy.") from error

    with pytest.raises(kind) as failure:
        fail()
    again = pickle.loads(error_message(failure.value)["exception"].data)
    assert (type(again), str(again), again.__cause__) == (kind, "it cannot be read: get a fresh copy.", None)


def test_one_batch_at_a_time(run: Callable[..., Batch]) -> None:
    def second(workers: int, dashboard: str | None) -> None:
        with pytest.raises(ProductError, match=r"another batch is writing to .*out: wait for it"):
            run()

    assert statuses(run(on_cluster=second))["p0"] == "done"


@pytest.mark.parametrize(("visible", "name", "mine"), [(None, 1, "1"), ("4,6", 1, "6"), ("4,6", 2, "4")])
def test_each_local_worker_takes_one_gpu(
    visible: str | None, name: int, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    WarmSession(Engine(device="cuda", threads=1), 2).setup(type("Worker", (), {"name": name}))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == mine


@pytest.mark.slow
def test_forty_pairs_a_killed_worker_and_a_damaged_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark = load_benchmark("batch")
    found = benchmark.kill(benchmark.render(tmp_path, 39, 150), model, tmp_path)
    assert (found["pairs"], found["equal"]) == (40, 39)
    assert list(found["reported"]) == ["p039"]
    shutil.rmtree(tmp_path / "killed")
