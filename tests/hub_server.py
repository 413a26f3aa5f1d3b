"""A model repository on loopback that answers as the Hugging Face Hub does: pages, redirects, ranges, refusals."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

PIECE = 1 << 20
COMMIT = "5c9a1e" + 34 * "0"


@dataclass
class Hub:
    """What the repository holds, how it misbehaves, and what it was asked.

    Attributes:
        files: content by file name.
        refusals: status and error code for every request of a file's page.
        pause: seconds before each further megabyte of a file.
        cuts: how many bytes of the file go out before the connection breaks, download by download; -1 answers 503.
        requests: method, path and Range of every request, in order.
    """

    repository: str
    files: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    port: int = 0
    pause: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def downloads(self) -> list[str]:
        """The Range header of every request for a file's content; empty where there was none."""
        return [asked for method, path, asked in self.requests if method == "GET" and path.startswith("/storage/")]


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The repository answers inside this block."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", hub.port), Handler)
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_CONNECT(self) -> None:  # a request that would leave this machine comes here by the proxy
        self._answer()

    def _answer(self) -> None:
        self.hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
        page, storage = f"/{self.hub.repository}/resolve/main/", "/storage/"
        name = self.path.rsplit("/", 1)[-1]
        if self.path.startswith(page) and name in self.hub.refusals:
            self._reply(self.hub.refusals[name][0], {"X-Error-Code": self.hub.refusals[name][1]})
        elif self.path.startswith(page) and name in self.hub.files:
            self._redirect(name, self.hub.files[name])
        elif self.path.startswith(storage) and name in self.hub.files:
            self._send(self.hub.files[name])
        else:
            self._reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})

    def _redirect(self, name: str, content: bytes) -> None:
        """Large files: the page tells what they are and sends to a storage of another origin."""
        headers = {"X-Repo-Commit": COMMIT, "X-Linked-Size": str(len(content))}
        headers |= {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "ETag": '"of the page"'}
        self._reply(302, {**headers, "Location": f"http://localhost:{self.hub.port}/storage/{name}"})

    def _send(self, content: bytes) -> None:
        cut = self.hub.cuts.pop(0) if self.hub.cuts else len(content)
        if cut < 0:
            self._reply(503, {})
            return
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        headers = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if asked else {}
        self._head(206 if asked else 200, {**headers, "Content-Length": str(len(content) - first)})
        for start in range(first, max(cut, first), PIECE):
            self.wfile.write(content[start : min(start + PIECE, cut)])
            time.sleep(self.hub.pause)
        self.close_connection = cut < len(content)

    def _reply(self, status: int, headers: dict[str, str]) -> None:
        self._head(status, {**headers, "Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Silence: `requests` keeps what was asked."""


def run(hub: Hub, home: Path, *command: Any, **more: str) -> subprocess.CompletedProcess[str]:
    """Python with this command line, see `environment`."""
    return subprocess.run(
        [sys.executable, *map(str, command)], env=environment(hub, home, **more), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def environment(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    """Nothing of the user's; what would leave loopback goes to the test's own server, which notes it."""
    return {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(home),
        "HF_HOME": str(home), "HF_ENDPOINT": hub.url, "SCHANGER_EDGE_CACHE": str(home / "cache"),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1",
        "HTTP_PROXY": hub.url, "HTTPS_PROXY": hub.url, "NO_PROXY": "127.0.0.1,localhost", **more,
    }  # fmt: skip


def here(monkeypatch: pytest.MonkeyPatch, hub: Hub, cache: Path) -> None:
    """The client of this process, whose settings were read when it was imported."""
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
