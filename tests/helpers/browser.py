"""A headless Chromium, driven through ChromeDriver's HTTP interface: no package needed."""

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MISSING = (
    "no browser: needs chromium (or google-chrome) and chromedriver on the PATH, such as Debian's "
    "chromium and chromium-driver"
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's key of an element
KEYS = {"right": "\ue014", "enter": "\ue007", "tab": "\ue004"}


def found() -> tuple[str, str] | None:
    """Return the paths of browser and driver, or None."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window."""

    def __init__(self, url: str) -> None:
        self._url = url

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]

    def open(self, path: Path | str, width: int, height: int = 1000, dark: bool = False) -> None:
        """Open a file in a page so wide, whatever the least width of a window is."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})
        # a window without the desktop's focus would tell a page of no element's
        self.devtools("Emulation.setFocusEmulationEnabled", {"enabled": True})
        self._ask("/url", {"url": path if isinstance(path, str) else path.resolve().as_uri()})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        """Send a command of the DevTools protocol."""
        return self._ask("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a function's body returns."""
        return self._ask("/execute/sync", {"script": script, "args": list(arguments)})

    def _element(self, css: str) -> str:
        return str(self._ask("/element", {"using": "css selector", "value": css})[_ELEMENT])

    def click(self, css: str) -> None:
        """Click as a mouse does."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", css)
        self._ask(f"/element/{self._element(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        """Send keys to an element."""
        self._ask(f"/element/{self._element(css)}/value", {"text": text})

    def console(self) -> list[str]:
        """Return what went wrong, as the console tells it."""
        log = self._ask("/se/log", {"type": "browser"})
        return [entry["message"] for entry in log]

    def screenshot(self, path: Path) -> None:
        """Write the whole page as PNG."""
        shot = {"captureBeyondViewport": True, "format": "png"}
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", shot)["data"]))


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """Yield a browser; ``found`` must not be None."""
    paths = found()
    assert paths is not None, MISSING
    with tempfile.TemporaryDirectory() as profile:
        log = Path(profile, "driver.log")
        driver = subprocess.Popen(
            [paths[1], "--port=0", f"--log-path={log}"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert driver.stdout is not None
            line = next(line for line in driver.stdout if "on port" in line and "success" in line)
            root = f"http://127.0.0.1:{int(line.rstrip().rstrip('.').split()[-1])}/session"
            arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
            arguments += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
            arguments += ["--disable-component-update", f"--user-data-dir={profile}/user"]
            options = {"binary": paths[0], "args": arguments}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = Browser(root)._ask("", {"capabilities": {"alwaysMatch": wanted}})
            browser = Browser(f"{root}/{session['sessionId']}")
            yield browser
            with contextlib.suppress(urllib.error.URLError):
                urllib.request.urlopen(urllib.request.Request(browser._url, method="DELETE"))
        finally:
            driver.terminate()
            driver.communicate()
            time.sleep(0.2)  # its children leave the profile's folder
