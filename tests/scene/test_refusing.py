"""What GDAL would wait for without end is refused at once, in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers import Ground, Tiff

from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.errors import DatasetError, SceneError
from schanger_edge.scene import open_pair


def write_vrt(path: Path, *sources: str) -> Path:
    """Three bands, each painted from all sources, one over the other."""
    parts = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{source}</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource>"
        for source in sources
    )
    bands = "".join(f'<VRTRasterBand dataType="Byte" band="{band}">{parts}</VRTRasterBand>' for band in (1, 2, 3))
    path.write_text(f'<VRTDataset rasterXSize="40" rasterYSize="40">{bands}</VRTDataset>')
    return path


def test_vrts_that_double_at_every_level(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    image = make_tiff("0.tif", ground(40, 40), crs=None)
    write_vrt(tmp_path / "1.vrt", "0.tif", "0.tif")
    for level in range(2, 40):
        write_vrt(tmp_path / f"{level}.vrt", *[f"{level - 1}.vrt"] * 2)
    with open_pair(image, image) as pair:
        expected = pair.read(pair.grid.window).before[0]
    with open_pair(tmp_path / "5.vrt", tmp_path / "5.vrt") as pair:
        assert (pair.read(pair.grid.window).before[0] == expected).all()
    with pytest.raises(SceneError, match=r"39\.vrt leads through more than 10000 VRTs"):
        open_pair(tmp_path / "39.vrt", tmp_path / "39.vrt")
    with pytest.raises(SceneError, match=r"39\.vrt leads through more than 10000 VRTs"):
        open_pair(image, image, valid_masks_before=(str(tmp_path / "39.vrt"),))
    with (
        pytest.raises(DatasetError, match=r"39\.vrt leads through more than 10000 VRTs"),
        Sample(LabelledFiles("x", (image, image), tmp_path / "39.vrt"), LabelRule()),
    ):
        pass
    wide = write_vrt(tmp_path / "wide.vrt", *["1.vrt"] * 3_000)  # many, one beside the other
    with open_pair(wide, wide) as pair:
        assert pair.grid.width == 40


def test_a_vrt_that_leads_to_itself(tmp_path: Path) -> None:
    write_vrt(tmp_path / "a.vrt", "b.vrt")
    write_vrt(tmp_path / "b.vrt", "a.vrt")
    with pytest.raises(SceneError, match=r"a\.vrt leads through more than"):
        open_pair(tmp_path / "a.vrt", tmp_path / "a.vrt")


def test_vrts_that_begin_with_a_comment(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    """GDAL looks for their first tag in all that it reads at once."""
    write_vrt(tmp_path / "1.vrt", "1.vrt")
    (tmp_path / "1.vrt").write_text(f"<!-- {'x' * 900} -->" + (tmp_path / "1.vrt").read_text())
    image = make_tiff("0.tif", ground(40, 40), crs=None)
    with pytest.raises(SceneError, match=r"2\.vrt leads through more than 10000 VRTs"):
        open_pair(image, write_vrt(tmp_path / "2.vrt", "1.vrt"))


def test_a_mere_description_is_called_one(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    image = make_tiff("0.tif", ground(40, 40), crs=None)
    vrt = write_vrt(tmp_path / "1.vrt", "0.tif")
    with open_pair(image, vrt) as pair:
        assert pair.notes == [
            f"{vrt} is a mere description (VRT) of pixels that lie in other files, or on other machines."
        ]


def test_more_bands_than_any_sensor_has(tmp_path: Path) -> None:
    bands = "".join(f'<VRTRasterBand dataType="Byte" band="{band}"/>' for band in range(1, 10_002))
    path = tmp_path / "a.vrt"
    path.write_text(f'<VRTDataset rasterXSize="40" rasterYSize="40">{bands}</VRTDataset>')
    with pytest.raises(SceneError, match=r"a\.vrt says it has 10001 bands, more than 10000: take three"):
        open_pair(path, path)


def test_pipes_beside_and_behind_an_image(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    image = make_tiff("a.tif", ground(40, 40))
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(SceneError, match=r"leads to .*pipe\.tif, which is no file but a device or a pipe"):
        open_pair(image, write_vrt(tmp_path / "b.vrt", "a.tif", "pipe.tif"))
    with pytest.raises(SceneError, match=r"pipe\.tif is no file but a device or a pipe: give the vector file"):
        open_pair(image, image, clip=str(tmp_path / "pipe.tif"))
    os.mkfifo(tmp_path / "a.tif.aux.xml")
    with pytest.raises(SceneError, match=r"a\.tif\.aux\.xml is a device or a pipe"):
        open_pair(image, image)


def test_names_that_are_not_utf8(make_tiff: Tiff, ground: Ground, tmp_path: Path) -> None:
    image = make_tiff("a.tif", ground(40, 40))
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.tif")
    Path(odd).write_bytes(image.read_bytes())
    for images, clip in (((odd, image), None), ((image, image), odd)):
        with pytest.raises(SceneError, match="has a name that is not valid text"):
            open_pair(*images, clip=clip)
