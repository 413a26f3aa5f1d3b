"""What a run must never do to the user's files, whatever they are called."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import rasterio.shutil
from helpers import MakePair
from typer.testing import CliRunner

from schanger_edge import detect
from schanger_edge.cli import app
from schanger_edge.errors import ProductError


def test_an_input_is_never_replaced(make_pair: MakePair, model: Path, tmp_path: Path) -> None:
    before, after = make_pair(80, 80)
    folder = tmp_path / "work"
    folder.mkdir()
    image = shutil.copy(before, folder / "change.tif")
    content = image.read_bytes()
    with pytest.raises(ProductError, match=r"change\.tif is no result"):
        detect(image, after, folder, model=model)
    assert [path.name for path in folder.iterdir()] == ["change.tif"]
    found = detect(before, after, tmp_path / "out", model=model)  # whose products are the tool's own
    whole = {path.name: path.read_bytes() for path in found.folder.iterdir()}
    for given in ((found.change, after), (before, tmp_path / "link.vrt")):
        if given[1].suffix == ".vrt":  # a description of a product
            rasterio.shutil.copy(found.change, given[1], driver="VRT")
        with pytest.raises(ProductError, match=r"change\.tif is an input of this run"):
            detect(*given, found.folder, model=model)
    with pytest.raises(ProductError, match=r"changes\.gpkg is an input of this run"):
        detect(before, after, found.folder, model=model, clip=str(found.folder / "changes.gpkg"))
    assert {path.name: path.read_bytes() for path in found.folder.iterdir()} == whole
    assert image.read_bytes() == content


def test_a_file_of_the_users_is_never_replaced(make_pair: MakePair, model: Path, tmp_path: Path) -> None:
    pair = make_pair(80, 80)
    out = tmp_path / "out"
    out.mkdir()
    (out / "preview.png").write_bytes(b"a quicklook")
    (out / "summary.json").write_text(json.dumps({"my": "notes"}))
    done = CliRunner().invoke(app, ["run", *map(str, pair), "-o", str(out), "--model", str(model)])
    assert isinstance(done.exception, ProductError)
    assert "summary.json is no result" in str(done.exception) or "preview.png is no result" in str(done.exception)
    assert {path.name for path in out.iterdir()} == {"preview.png", "summary.json"}
    assert (out / "preview.png").read_bytes() == b"a quicklook"
