"""The hooks that come with the project, each with a server on this machine; and what STAC says in a watch."""

from __future__ import annotations

import email
import http.server
import json
import socketserver
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pystac
import pytest
from helpers import ROOT, validate

HOOKS = ROOT / "jetson" / "hooks"


class Web(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted."""

    posted: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


class Post(socketserver.StreamRequestHandler):
    """As much of a mail server as one mail needs."""

    mails: list[str]

    def handle(self) -> None:
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            if line.upper() == "DATA":
                self.say("354 go on")
                lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                self.mails.append("".join(lines))
            self.say("221 bye" if line.upper() == "QUIT" else "250 fine")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def serve() -> Iterator[Callable[[Any], int]]:
    """serve(handler): the port of a server on this machine."""
    running: list[socketserver.TCPServer] = []

    def start(handler: Any) -> int:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_result_is_posted(station: Any, pair: str, serve: Callable[[Any], int]) -> None:
    Web.posted = []
    address = f"http://127.0.0.1:{serve(Web)}/changes"
    station.once(hook=[sys.executable, str(HOOKS / "webhook.py"), address, "{result}"])
    (found,) = Web.posted
    summary = json.loads((station.output / "results" / pair / "summary.json").read_text())
    assert (found["result"], found["polygons"]) == (pair, summary["polygons"])
    assert found["changed_m2"] == summary["area_m2"]["changed"]


def test_nobody_takes_the_post(station: Any, pair: str, capfd: pytest.CaptureFixture[str]) -> None:
    status = station.once(hook=[sys.executable, str(HOOKS / "webhook.py"), "http://127.0.0.1:9/x", "{result}"])
    assert status.results == 1
    assert any("exited with code 1: see its output in the log" in line for line in station.reported)
    assert "the result was not posted: " in capfd.readouterr().err


def test_a_result_is_mailed_where_something_changed(station: Any, pair: str, serve: Callable[[Any], int]) -> None:
    Post.mails = []
    words = [f"127.0.0.1:{serve(Post)}", "station@here", "crew@here", "{result}"]
    station.once(hook=[sys.executable, str(HOOKS / "mail.py"), *words], run={"min_area": 0})
    (text,) = Post.mails
    mail = email.message_from_string(text)
    assert pair in str(mail["Subject"]).replace("\n ", "")
    assert mail["To"] == "crew@here"
    picture = next(part for part in mail.walk() if part.get_filename() == "preview.png")
    assert picture.get_payload(decode=True) == (station.output / "results" / pair / "preview.png").read_bytes()


def test_an_item_has_the_dates_of_the_names_and_its_links_hold(
    station: Any, drop: Callable[..., Path], tmp_path: Path
) -> None:
    for date in ("20240501", "20240601"):
        drop(f"port_{date}.tif")
    station.once(run={"stac": True})
    station.output.rename(tmp_path / "moved")
    (result,) = (tmp_path / "moved" / "results").iterdir()
    item = pystac.Item.from_file(result / "item.json")
    validate(item)
    assert item.properties["start_datetime"] == "2024-05-01T00:00:00Z"
    assert item.properties["end_datetime"].startswith("2024-06-01T")
    assert all((result / asset.href).exists() for asset in item.assets.values())
    links = [link.href for link in item.links if link.rel == "derived_from"]
    assert [(result / link).resolve().name for link in links] == ["port_20240501.tif", "port_20240601.tif"]
    assert all((result / link).exists() for link in links)
