"""A headless Chromium, driven over two pipes by its DevTools protocol: no package is needed."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
_FLAGS = (
    *("--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"),
    *("--disable-extensions", "--disable-background-networking", "--disable-dev-shm-usage"),
    *("--renderer-process-limit=1", "--mute-audio", "--hide-scrollbars"),
)
_SECONDS = 60  # for an answer
_KEYS = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Home": 36}
_TEXTS = {"Space": (" ", 32), "Enter": ("\r", 13)}


class Browser:
    """One page of a browser that has no network.

    requests: addresses that the page has asked for, its own aside.
    """

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from, self._rest, self._number = to_browser, from_browser, b"", 0
        self.requests: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], _SECONDS)[0], "the browser does not answer"
            self._rest += os.read(self._from, 1 << 20)
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Page.loadEventFired":
            self._loaded = True
        if message.get("method") == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            self.requests += [] if url.startswith("data:") else [url]
        return message

    def open(self, path: Path, *, dark: bool = False, width: int = 1280, height: int = 900) -> None:
        """Open a file as a page, and wait until it is loaded."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **shape)
        self._loaded, self.requests = False, []
        self.call("Page.navigate", url=path.as_uri())
        while not self._loaded:
            self._next()
        self.requests = [url for url in self.requests if url != path.as_uri()]

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def settled(self) -> None:
        """Wait until the page has been drawn."""
        self.call(
            "Runtime.evaluate",
            expression="new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))",
            awaitPromise=True,
        )

    def press(self, key: str, times: int = 1) -> None:
        """Press a key of the keyboard."""
        text, code = _TEXTS.get(key, (key if len(key) == 1 else "", _KEYS.get(key, ord(key[0]))))
        named = {"Space": " "}.get(key, key)
        pressed = {"key": named, "windowsVirtualKeyCode": code}
        for _ in range(times):
            down = {"text": text} if text else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **down)
            self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag with the mouse."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            held = {"button": "left", "buttons": 1, "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **held)

    def screenshot(self, path: Path | None = None, *, whole: bool = True) -> bytes:
        """Return the page as PNG."""
        self.settled()
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        png = base64.b64decode(shot)
        if path:
            path.write_bytes(png)
        return png


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser; end it with the ``with`` block."""
    assert CHROMIUM
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # Beyond 3 and 4, which the browser reads from and writes to.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_in, theirs_out)]
    os.close(theirs_in)
    os.close(theirs_out)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [*_FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if _is_root() else [])]
        process = os.posix_spawn(
            CHROMIUM,
            [CHROMIUM, *flags, "about:blank"],
            {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, ends[0], 3),
                (os.POSIX_SPAWN_DUP2, ends[1], 4),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
        )
        for end in ends:
            os.close(end)
        try:
            opened = Browser(ours_out, ours_in)
            yield opened
        finally:
            with contextlib.suppress(OSError):
                os.write(ours_out, b'{"id": 0, "method": "Browser.close"}\0')
            _end(process)
            os.close(ours_out)
            os.close(ours_in)


def _is_root() -> bool:
    return os.name == "posix" and os.geteuid() == 0


def _end(process: int) -> None:
    """Wait for a process that was asked to end; end it after five seconds."""
    for _ in range(50):
        if os.waitpid(process, os.WNOHANG)[0]:
            return
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
