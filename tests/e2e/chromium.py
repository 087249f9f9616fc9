"""A browser in a test: Chromium without a window, driven over the pipe of its debugging protocol.

The standard library is enough: messages are JSON with a zero byte behind each.
"""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

FLAGS = ("--headless", "--no-sandbox", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars",
         # WebGL by software, on every machine the same
         "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # fmt: skip
SECONDS = 60.0
# what the protocol answers a question that the page left before it was answered
LEFT = ("Inspected target navigated or closed", "Execution context was destroyed",
        "Cannot find context with specified id",
        "Cannot find default execution context")  # fmt: skip


class PageLeftError(AssertionError):
    """The page was left while a question to it was open."""


class Chromium:
    """One page of one browser."""

    def __init__(self, profile: Path, *flags: str, size: tuple[int, int] = (1400, 1000)) -> None:
        to_it, self._out = os.pipe()
        self._in, from_it = os.pipe()
        # numbers 3 and 4 are what Chromium reads and writes; keep ours away from them first
        kept = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (to_it, from_it)]

        def hand_over() -> None:
            os.dup2(kept[0], 3)
            os.dup2(kept[1], 4)

        window = f"--window-size={size[0]},{size[1]}"
        command = ["chromium", *FLAGS, *flags, window, "--remote-debugging-pipe",
                   f"--user-data-dir={profile}", "about:blank"]  # fmt: skip
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, preexec_fn=hand_over, pass_fds=(3, 4), stdout=quiet, stderr=quiet
        )
        for fd in (to_it, from_it, *kept):
            os.close(fd)
        self._buffer = b""
        self._count = 0
        self.log: list[str] = []
        targets = self._call("Target.getTargets")["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self._process.terminate()
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command to the page."""
        return self._call(method, self._session, **params)

    def open(self, page: Path) -> None:
        """Load a file and wait until its scripts ran."""
        self.log.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait(f"document.readyState === 'complete' && location.pathname.endsWith("
                  f"{json.dumps(page.name)})")  # fmt: skip

    def run(self, expression: str) -> Any:
        """Value of a JavaScript expression; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                          returnByValue=True, userGesture=True)  # fmt: skip
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = SECONDS) -> None:
        """Wait until an expression is true, of the page that is there or of one that it opens."""
        end = time.monotonic() + seconds
        while not self._holds(expression):
            assert time.monotonic() < end, f"never true: {expression}; {self.log}"
            time.sleep(0.05)

    def _holds(self, expression: str) -> bool:
        try:
            return bool(self.run(f"Boolean({expression})"))
        except PageLeftError:
            return False

    def click(self, selector: str) -> None:
        """Click in the middle of an element with the mouse."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1],
                      button="left", clickCount=1)  # fmt: skip

    def key(self, key: str) -> None:
        """Press and release a key, named as in KeyboardEvent.key."""
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "Tab": 9, " ": 32}.get(key, 0)
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key,
                  windowsVirtualKeyCode=code, **text)  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def picture(self, selector: str = "") -> Image.Image:
        """Screenshot of the window, or of one element."""
        options: dict[str, Any] = {}
        if selector:
            box = self.run(
                f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
                ".getBoundingClientRect(); return [b.left + scrollX, b.top + scrollY, b.width,"
                " b.height]; })()"
            )
            x, y, width, height = box
            options = {"clip": {"x": x, "y": y, "width": width, "height": height, "scale": 1},
                       "captureBeyondViewport": True}  # fmt: skip
        data = self.call("Page.captureScreenshot", format="png", **options)["data"]
        return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")

    def _call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                if answer.get("error", {}).get("message", "").startswith(LEFT):
                    raise PageLeftError(answer)
                assert "error" not in answer, answer
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        """Keep what the page complains about: exceptions, refusals of its security policy."""
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.log.append(json.dumps(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded":
            self.log.append(params["entry"]["text"])
        elif event.get("method") == "Page.javascriptDialogOpening":
            self.log.append(f"dialog: {params['message']}")
            self.call("Page.handleJavaScriptDialog", accept=True)
