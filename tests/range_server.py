"""Files on loopback by HTTP, in ranges as object stores give them, by a server that counts and can fail.

It is a process of its own: GDAL waits for an answer while it holds Python's lock, so a thread would never give one.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOG, LIMIT = ".requests", ".limit"
DRIP = "drip.tif"
"""A file of this name comes without end, a few bytes at a time."""
ENDLESS = "endless.tif"
"""This one as fast as it is taken, as a part of a file and, in a folder `whole`, as all of one."""


@dataclass(frozen=True)
class Store:
    """A folder behind a server, and what it was asked."""

    folder: Path
    port: int

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def requests(self) -> list[tuple[str, str, int, int]]:
        """Method, file, status and bytes sent of every request, in order."""
        lines = (self.folder / LOG).read_text().splitlines()
        return [(a, b, int(c), int(d)) for a, b, c, d in (line.split(" ") for line in lines)]

    def sent(self, name: str) -> int:
        """Bytes of a file that went out, each time they did."""
        return sum(count for _, asked, _, count in self.requests() if asked == name)

    def fail_after(self, count: int | None) -> None:
        """Answer every request with 404 once so many bytes were sent in all; None never does."""
        (self.folder / LIMIT).write_text("inf" if count is None else str(count))


@contextmanager
def serving(folder: Path) -> Iterator[Store]:
    """The folder is served inside this block."""
    (folder / LOG).write_text("")
    (folder / LIMIT).unlink(missing_ok=True)
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Store(folder, int(process.stdout.readline()))
        finally:
            process.terminate()


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    sent = 0
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.folder / self.path.partition("?")[0].lstrip("/")
        limit = self.folder / LIMIT
        gone = limit.exists() and _Handler.sent >= float(limit.read_text())
        if gone or not path.is_file():
            self._reply(404, {}, b"")
        elif path.name in (DRIP, ENDLESS):
            self._never_end(path)
        elif "Range" in self.headers:
            self._send_range(path.read_bytes(), self.headers["Range"])
        else:
            self._reply(200, {"Accept-Ranges": "bytes"}, path.read_bytes())

    def _never_end(self, path: Path) -> None:
        self.close_connection = True
        if self.command == "HEAD":
            return self._reply(200, {"Accept-Ranges": "bytes"}, bytes(1_000_000))
        self.send_response(200 if path.parent.name == "whole" else 206)
        self.send_header("Content-Range", "bytes 0-16383/1000000")
        self.end_headers()
        with contextlib.suppress(OSError):  # until nobody listens
            while True:
                self.wfile.write(b"II*\0" * (1 if path.name == DRIP else 16384))
                time.sleep(0.1 if path.name == DRIP else 0)

    def _send_range(self, content: bytes, asked: str) -> None:
        first, last = asked.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last or len(content)) + 1]
        if part:
            self._reply(206, {"Content-Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"}, part)
        else:
            self._reply(416, {"Content-Range": f"bytes */{len(content)}"}, b"")

    def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        sent = b"" if self.command == "HEAD" else body
        _Handler.sent += len(sent)
        with (self.folder / LOG).open("a") as log:
            log.write(f"{self.command} {self.path.lstrip('/') or '/'} {status} {len(sent)}\n")
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Silence: the log file keeps what was asked."""


if __name__ == "__main__":
    _Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
