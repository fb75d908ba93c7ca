"""What ``scripts/screenshots`` does: docs/images/<page>-<theme>.png, of the examples after the demo has run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-headless-shell") or "/usr/bin/chromium"
WINDOW = {"width": 1280, "height": 800}
DONE = "Ctrl-C"  # what the demo says when everything has run and it only serves


@contextmanager
def demo() -> Iterator[str]:
    """The address of the demo's server, once all examples have run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "examples.demo", "--port", "0"]
        env = {**os.environ, "DEMO_HOME": folder, "CI": ""}
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )
        assert process.stdout is not None
        try:
            said = ""
            for line in process.stdout:
                said += line
                if DONE in line:
                    break
            else:
                raise SystemExit(f"the demo ended by itself:\n{said}")
            found = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert found is not None, said
            yield found[0]
        finally:
            process.terminate()
            process.wait(20)


def _pages(address: str) -> dict[str, str]:
    """What is shown. One order stands for all runs."""
    with urlopen(f"{address}/v2/runs?function=order&limit=1") as answer:
        (run,) = json.load(answer)["data"]
    return {"overview": "/", "runs": "/runs", "run": f"/runs/{run['id']}"}


def _shoot(page: Page, address: str, path: str, name: str) -> None:
    page.goto(address + path)
    page.wait_for_selector('#connection[data-state="live"]')
    page.wait_for_load_state("networkidle" if path == "/" else "load")
    page.screenshot(path=str(IMAGES / f"{name}.png"))
    print(f"docs/images/{name}.png")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with demo() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            page = browser.new_page(viewport=WINDOW, color_scheme=theme)
            for name, path in _pages(address).items():
                _shoot(page, address, path, f"{name}-{theme}")
        browser.close()


if __name__ == "__main__":
    main()
