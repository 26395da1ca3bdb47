"""A headless browser that is driven by keys and sizes, over Chromium's own protocol on two pipes."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.analysis.browser import BROWSER

__all__ = ["BROWSER", "Tab", "open_tab"]

_OPTIONS = [
    "--headless",
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing but the server of the test is there
    "--lang=en",
    "--remote-debugging-pipe",
]
_KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), "ArrowDown": ("", 40), "ArrowUp": ("", 38), " ": (" ", 32)}
_CONTROL = 2


class Tab:
    """One page of a running browser."""

    def __init__(self, send_to: int, receive_from: int) -> None:
        self._send, self._receive, self._buffer, self._number = send_to, receive_from, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; keeps the events that come in between."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, said
                return said["result"]
            self.events.append(said)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._receive, 1 << 16)
            assert piece, "the browser has ended"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def forget(self) -> None:
        """Leave the page, and drop what the browser has said of it, also what comes late."""
        self.call("Page.navigate", url="about:blank")
        for command in ("disable", "clear", "enable"):
            self.call(f"Log.{command}")
        self.events.clear()

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && document.querySelector('#ask')")

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        said = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def wait_for(self, condition: str) -> None:
        deadline = time.monotonic() + 30
        while not self.run(f"Boolean({condition})"):
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)

    def press(self, key: str, *, control: bool = False) -> None:
        text, code = _KEYS[key]
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": _CONTROL if control else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **given)
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Give the page a size, and its reader a liking for dark colours."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    @property
    def complaints(self) -> list[str]:
        """What the browser logged: errors of scripts, and all that the security policy forbade."""
        return [
            json.dumps(event["params"])
            for event in self.events
            if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")
        ]

    @property
    def addresses(self) -> list[str]:
        """Everything that the page asked for."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]


@contextmanager
def open_tab(profile: Path) -> Iterator[Tab]:
    """A browser with one empty page, which ends with the block."""
    assert BROWSER is not None
    from_us, to_browser = os.pipe()
    from_browser, to_us = os.pipe()

    def connect() -> None:
        os.dup2(from_us, 3)  # where the browser reads
        os.dup2(to_us, 4)  # and where it writes

    command = [BROWSER, *_OPTIONS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, close_fds=False, preexec_fn=connect, stderr=subprocess.DEVNULL)
    os.close(from_us)
    os.close(to_us)
    try:
        yield Tab(to_browser, from_browser)
    finally:
        os.close(to_browser)
        os.close(from_browser)
        process.terminate()
        process.wait(30)
