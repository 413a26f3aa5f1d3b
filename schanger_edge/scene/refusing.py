"""What is refused because GDAL would wait for it for ever, or cannot take it: pipes, odd names, what has no end."""

from __future__ import annotations

import contextlib
import html
import os
import re
import time
from typing import Any

from schanger_edge.errors import SceneError, check_name
from schanger_edge.scene.remote import address_of, is_plain, public_name

MOST_NESTED = 10_000
"""VRTs that may be gone through for one band: of twelve that each name the next one twice, it is 4,096."""
ASKED = 1 << 14
"""Bytes of a file behind an address that GDAL asks for first."""
_MOST_SENT = 10 * ASKED  # which it takes from a server that sends all instead; without a stated length, anything
_PATIENCE = 3  # seconds for a server's answer, before it is left to GDAL
_BESIDE = (".aux.xml", ".ovr", ".msk", ".aux", ".rrd", ".wld", ".tfw")
_BAND = re.compile(r"<VRTRasterBand\b")
_SOURCE = re.compile(r"<Source(?:Filename|Dataset)\b([^>]*)>([^<]*)<")
_HEAD = 1024  # characters among which GDAL looks for a VRT's first tag


def check_path(path: str, what: str = "image") -> None:
    """Raise a SceneError where it cannot be opened, or might keep GDAL waiting; `what` is what a user gives."""
    name = public_name(path)
    check_name(path, SceneError)
    if not is_plain(path):
        _check_server(path, what)
        return
    if _is_pipe(path):
        raise SceneError(f"{name} is no file but a device or a pipe: give the {what} as a file.")
    for stem in (path, os.path.splitext(path)[0]):
        for suffix in _BESIDE:
            if _is_pipe(stem + suffix):
                raise SceneError(f"{stem + suffix} is a device or a pipe, which GDAL would read: remove it.")


def _check_server(path: str, what: str) -> None:
    """Raise a SceneError where a server sends far more than it is asked for: GDAL would hold all of it.

    What it doesn't send without a password, or in time, is left to GDAL.
    """
    import http.client  # these two take 0.1 s, which only addresses need
    import urllib.request

    address, sent, began = address_of(path), 0, time.monotonic()
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        request = urllib.request.Request(address, headers={"Range": f"bytes=0-{ASKED - 1}"})
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            while sent <= _MOST_SENT and time.monotonic() < began + _PATIENCE and (part := answer.read1(ASKED)):
                sent += len(part)
    if sent > _MOST_SENT:
        raise SceneError(
            f"the server of {public_name(path)} sends all of a file, or more, where it is asked for a part: download "
            f"the {what}, and give the file."
        )


def _is_pipe(path: str) -> bool:
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def check_vrt(dataset: Any, name: str) -> None:
    """Raise a SceneError where reading an open VRT would not end, or end in zeros.

    It leads through itself, a pipe, or so many VRTs: GDAL opens and reads them one in the other, each as often as it is
    named. Or one of them is no UTF-8: rasterio loses errors that quote it. What they hold is not looked at.
    """
    if dataset.driver != "VRT":
        return
    known: dict[str, int] = {}
    if is_plain(dataset.name):
        passes = _passes_of(dataset.name, known, name)
    else:
        passes = _passes(dataset.tags(ns="xml:VRT").get("xml:VRT", ""), "", known, name)
    if passes > MOST_NESTED:
        raise SceneError(
            f"{name} leads through more than {MOST_NESTED} VRTs, one in the other: make one image of it with "
            "gdal_translate, or with gdalbuildvrt of the images themselves."
        )


def _passes(text: str, folder: str, known: dict[str, int], name: str) -> int:
    """VRTs that are gone through to read a band of one, itself included."""
    most = 0
    for band in _BAND.split(text):
        passes = 0
        for attributes, stated in _SOURCE.findall(band):
            path = html.unescape(stated)
            path = os.path.join(folder, path) if 'relativeToVRT="1"' in attributes else path
            passes += _passes_of(path, known, name)
        most = max(most, passes)
    return 1 + most


def _passes_of(path: str, known: dict[str, int], name: str) -> int:
    """The same of a source; 0 where it is no VRT of this machine."""
    if "<VRTDataset" in path[:_HEAD]:
        return _passes(path, "", known, name)
    if not is_plain(path):
        return 0
    if path not in known:
        if _is_pipe(path):
            raise SceneError(f"{name} leads to {path}, which is no file but a device or a pipe: take it out.")
        known[path] = MOST_NESTED + 1  # for a VRT that leads to itself
        known[path] = _passes(text, os.path.dirname(path), known, name) if (text := _vrt_text(path, name)) else 0
    return known[path]


def _vrt_text(path: str, name: str) -> str:
    """Of a VRT; empty for other files."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            return (head + file.read()).decode() if b"<VRTDataset" in head else ""
    except UnicodeError as error:
        raise SceneError(f"{name} holds letters that are no UTF-8: write it anew, and name its files so.") from error
    except OSError:  # a source that is not there: opening it will say so
        return ""
