"""A headless Chromium driven over the DevTools protocol by a pair of pipes: real mouse, touch and keys, real pixels."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars",
    "--enable-logging=stderr", "--remote-debugging-pipe", "--force-device-scale-factor=1",
]  # fmt: skip
# Chromium reads commands from descriptor 3 and writes answers to 4.
LAUNCH = "import os, sys; [os.dup2(int(sys.argv[n]), n + 2) for n in (1, 2)]; os.execv(sys.argv[3], sys.argv[3:])"
PROBLEMS = ("Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening")
SHIFT = 8


class Page:
    """One page in a browser of its own. Use it as a context manager.

    Attributes:
        problems: what the page, the console or the browser's log complained of.
        requests: addresses of everything that was loaded, data URLs left out.
    """

    def __init__(self, folder: Path, width: int = 1400, height: int = 900, *, ratio: int = 1, touch: bool = False):
        self._folder, self._size, self._touch = folder, (width, height, ratio), touch
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._waiting, self._number, self._session = b"", 0, ""
        self._events: set[str] = set()

    def __enter__(self) -> Page:
        assert BROWSER is not None
        (read, answer), (command, write) = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (command, answer)]
        self._log = (self._folder / "browser.log").open("wb")
        flags = [*FLAGS, f"--user-data-dir={self._folder / 'profile'}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, *map(str, theirs), BROWSER, *flags],
            pass_fds=theirs, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        for end in (command, answer, *theirs):
            os.close(end)
        self._read, self._write = read, write
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        width, height, ratio = self._size
        self.resize(width, height, ratio=ratio, touch=self._touch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._session = ""
            self.call("Browser.close")
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._read)
            os.close(self._write)
            self._log.close()
        log = (self._folder / "browser.log").read_text(errors="replace")
        self.problems += [line for line in log.splitlines() if "CONSOLE" in line]

    def resize(self, width: int, height: int, *, ratio: int = 1, touch: bool = False) -> None:
        """Be another device from now on."""
        device = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": touch}
        self.call("Emulation.setDeviceMetricsOverride", **device)
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)

    def downloads_to(self, folder: Path) -> None:
        """Where files go that the page saves."""
        session, self._session = self._session, ""  # the browser's matter, not the page's
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self._session = session

    def give_file(self, selector: str, path: Path) -> None:
        """Choose a file for an input."""
        document = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and give its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        number, end = self._number, time.monotonic() + 60
        while number not in self._answers:
            self._take(end)
        answer = self._answers.pop(number)
        assert "error" not in answer, (method, answer)
        result: dict[str, Any] = answer["result"]
        return result

    def _take(self, end: float) -> None:
        """Read what comes and sort it."""
        ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
        assert ready, "the browser does not answer"
        part = os.read(self._read, 1 << 20)
        assert part, "the browser went away"
        *messages, self._waiting = (self._waiting + part).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message.get("params", {}))

    def _note(self, event: str, details: dict[str, Any]) -> None:
        self._events.add(event)
        if event == "Network.requestWillBeSent" and not details["request"]["url"].startswith("data:"):
            self.requests.append(details["request"]["url"])
        elif event in PROBLEMS or (
            event == "Runtime.consoleAPICalled" and details["type"] in ("error", "warning", "assert")
        ):
            self.problems.append(json.dumps(details)[:1000])

    def load(self, path: Path) -> None:
        """Load a file, any page."""
        self._events.discard("Page.loadEventFired")
        self.call("Page.navigate", url=path.as_uri())
        self.until(lambda: "Page.loadEventFired" in self._events)

    def open(self, path: Path) -> None:
        """Load a report and wait until all of its pictures are decoded and drawn."""
        self.load(path)
        self.until(lambda: self.value("Object.values(overview).every((image) => image.naturalWidth > 0)"))
        self.settle()

    def until(self, true: Callable[[], Any]) -> None:
        """Wait for something that the page is about to do."""
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end, "it does not happen"
            self.value("new Promise((done) => setTimeout(done, 20))")

    def settle(self) -> None:
        """Wait until nothing moves, what is seen is decoded, and two frames are drawn."""
        self.until(lambda: self.value("motion === 0 && frame === 0 && [...decoded.values()].every((i) => i.complete)"))
        self.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def value(self, script: str) -> Any:
        """What an expression gives, as JSON."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, (script, answer)
        return answer["result"].get("value")

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, in CSS pixels of the window."""
        script = f"(({{x, y, width, height}}) => [x, y, width, height])(document.querySelector({selector!r})"
        left, top, width, height = self.value(f"{script}.getBoundingClientRect())")
        return left, top, width, height

    def middle(self, selector: str) -> tuple[float, float]:
        left, top, width, height = self.box(selector)
        return left + width / 2, top + height / 2

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move in steps, let go."""
        (x0, y0), (x1, y1) = start, end
        self.mouse("mouseMoved", x0, y0)
        self.mouse("mousePressed", x0, y0, button="left", buttons=1, clickCount=1)
        for share in (0.3, 0.7, 1.0):
            self.mouse("mouseMoved", x0 + share * (x1 - x0), y0 + share * (y1 - y0), button="left", buttons=1)
        self.mouse("mouseReleased", x1, y1, button="left", clickCount=1)
        self.settle()

    def click(self, x: float, y: float) -> None:
        self.drag((x, y), (x, y))

    def touch(self, kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        self.call("Input.dispatchTouchEvent", type=kind, touchPoints=places)

    def press(self, key: str, code: str = "", *, shift: bool = False) -> None:
        """Press and release a key, named as in KeyboardEvent.key."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        virtual = {"Enter": 13, "Tab": 9, "Escape": 27}.get(key, 0)
        same = {"key": key, "code": code, "modifiers": SHIFT * shift, "windowsVirtualKeyCode": virtual}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **same)
        self.call("Input.dispatchKeyEvent", type="keyUp", **same)
        self.settle()

    def screenshot(self) -> np.ndarray:
        """The window's pixels, uint8 RGB (h, w, 3)."""
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return picture[..., ::-1]
