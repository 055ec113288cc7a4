"""A headless Chromium, spoken to over a pipe in its own protocol: no driver and no port."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from base64 import b64decode
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

PATH = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Chromium:
    """One page of a browser of its own.

    Args:
        profile: an empty folder. width, height: of the window, pixels.
    """

    def __init__(self, profile: Path, *, width: int = 1280, height: int = 1200) -> None:
        if PATH is None:
            pytest.skip("no chromium on this machine")
        theirs, self._write = os.pipe()
        self._read, out = os.pipe()
        flags = (
            f"--headless --no-sandbox --disable-gpu --window-size={width},{height} --remote-debugging-pipe"
        )
        script = f'exec "$0" {flags} --user-data-dir="$1" about:blank 3<&{theirs} 4>&{out}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, PATH, str(profile)],
            pass_fds=(theirs, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs)
        os.close(out)
        self._left, self._number = b"", 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> Any:
        """Do it and give back what it answers; what else is told is in `events`. Dialogs get a yes."""
        number = self._send(method, given)
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            if told.get("method") == "Page.javascriptDialogOpening":  # it blocks all else
                self._send("Page.handleJavaScriptDialog", {"accept": True})
            self.events.append(told)

    def _send(self, method: str, given: dict[str, Any]) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._number

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser is gone"
            self._left += more
        told, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(told)
        return found

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return told["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        for _ in range(500):
            if self.run(f"Boolean({script})"):
                return
            time.sleep(0.02)
        raise AssertionError(f"never true: {script}\n{self.run('document.body.innerText')}")

    def press(self, key: str, text: str = "") -> None:
        """A key, as a keyboard sends it."""
        code = {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)
        given = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **given, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **given)

    def picture(self) -> bytes:
        """A PNG of what is seen."""
        return b64decode(self.call("Page.captureScreenshot")["data"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, 15)
        self._process.wait(30)
        os.close(self._read)
        os.close(self._write)
