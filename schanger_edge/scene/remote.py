"""Images that lie behind a network or in an archive: how GDAL is to fetch them, and what to call them."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from typing import Any

import rasterio

SETTINGS = {
    # Listing a folder may take long. TRUE, not EMPTY_DIR: a mask beside the image (.msk) is still found, as on a disk,
    # unless the URL has a query.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_HTTP_MAX_RETRY": "3",  # of answers such as 503 and of connections that break
    "GDAL_HTTP_RETRY_DELAY": "1",
    "GDAL_HTTP_CONNECTTIMEOUT": "10",
    # Seconds at so few bytes per second after which a server is given up, and seconds of one answer at most, which is a
    # few blocks; GDAL would wait for ever, and hold all that comes.
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
    "GDAL_HTTP_TIMEOUT": "60",
}
"""GDAL's options while remote files are opened and read; those set in the environment stay as they are."""

ALWAYS = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "YES"}
"""The same of all files: a JPEG that was cut short is else grey below the cut, without an error."""

_SCHEMES = re.compile(r"(?<![a-z])(https?|ftp|s3|gs|az|oss)://", re.IGNORECASE)
_PASSWORDS = re.compile(
    r"((?:password|passwd|pwd|passphrase)\s*=\s*|\bOCI:[^/\s]+/)(?!\.\.\.)('(?:[^'\\]|\\.)*'|\"[^\"]*\"|\{[^}]*\}|[^\s,;&'\"@]+)",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(\S+?)(['\"().,:;]*(?:\s|$))")
_WITH_OPTIONS = re.compile(r"(/vsi\w+)\?(?:[^/]*&)?url=([^&]*)")
_FILE_SYSTEMS = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)(_streaming)?[/?]")


def is_remote(path: str) -> bool:
    """True for paths that GDAL and rasterio fetch over a network, also those within an archive or a VRT."""
    return bool(_SCHEMES.search(path) or _FILE_SYSTEMS.search(path))


def is_plain(path: str) -> bool:
    """True for a path of this machine's file system: no URL, no /vsi path, no XML."""
    return "://" not in path and not path.startswith(("/vsi", "<"))


def is_connection(path: str) -> bool:
    """True for what a driver of GDAL knows by a prefix, such as `PG:dbname=city`; a drive's letter is none."""
    return bool(re.match(r"[A-Za-z]\w+:", path)) and not os.path.exists(path)


def address_of(path: str) -> str:
    """The URL at which GDAL fetches a single file by HTTP; empty for other paths."""
    inner = _WITH_OPTIONS.match(path)
    address = urllib.parse.unquote(inner[2]) if inner else path.removeprefix("/vsicurl/")
    return address if address.lower().startswith(("http://", "https://")) else ""


def reading(path: str) -> contextlib.AbstractContextManager[Any]:
    """Around all that opens or reads a file: GDAL's options, with those for remote ones where it is one."""
    env: contextlib.AbstractContextManager[Any] = rasterio.Env(
        **ALWAYS, **(remote_settings() if is_remote(path) else {})
    )
    return env


def remote_settings() -> dict[str, str]:
    """`SETTINGS` but for those that the environment sets."""
    return {name: value for name, value in SETTINGS.items() if name not in os.environ}


def public_name(path: str) -> str:
    """The path without what gives access to it: user, password and query of a URL, passwords of a database."""
    path = _PASSWORDS.sub(r"\1...", path)
    if inner := _WITH_OPTIONS.match(path):
        return f"{inner[1]}?url={public_name(urllib.parse.unquote(inner[2]))}"
    if not is_remote(path):
        return re.sub(r"(?<=\w)://[^/?\s]*@", "://", path)
    return re.sub(r"://[^/?]*@", "://", path).partition("?")[0]


def resolved_name(path: str) -> str:
    """The same for one image however it was typed, and from which folder: without keys, its links followed."""
    return os.path.realpath(path) if is_plain(path) and os.path.exists(path) else public_name(path)


def public_text(text: str) -> str:
    """A message of GDAL's with each address replaced by its `public_name`."""
    return _WORDS.sub(lambda word: public_name(word[1]) + word[2], _PASSWORDS.sub(r"\1...", text))
