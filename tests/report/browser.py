"""A page in headless Chromium: what is in it after a script has used it, and what it looks like."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

_LISTEN = """<script>window.problems = [];
addEventListener("error", (e) => problems.push(String(e.message)));
addEventListener("securitypolicyviolation", (e) => problems.push(e.violatedDirective));
console.error = console.warn = (...words) => problems.push(words.join(" "));</script>"""

_TELL = """<script>addEventListener("load", () => {
  let told;
  try { told = (() => { %s })(); } catch (e) { problems.push(String(e)); }
  const box = document.createElement("pre");
  box.id = "told";
  box.textContent = JSON.stringify({ told: told === undefined ? null : told, problems });
  document.body.append(box);
});</script>"""


def browser() -> str:
    """Chromium, or a skip."""
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("Chromium is not installed")


def _run(page: Path, *arguments: str) -> str:
    profile = page.parent / "profile"
    command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    command += [f"--user-data-dir={profile}", *arguments, page.as_uri()]
    environment = {**os.environ, "HOME": str(page.parent)}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def use(page: Path, script: str, *, width: int = 1280) -> Any:
    """Open a page, run a script in it, and return what the script returns; any error of the page fails the test."""
    watched = page.with_name("watched.html")
    text = page.read_text(encoding="utf-8").replace("<head>", "<head>" + _LISTEN, 1)
    watched.write_text(text.replace("</body>", _TELL % script + "</body>", 1), encoding="utf-8")
    dom = _run(watched, f"--window-size={width},900", "--dump-dom")
    found = re.search(r'<pre id="told">(.*?)</pre>', dom, re.DOTALL)
    assert found, "the page did not load"
    answer = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert answer["problems"] == [], answer["problems"]
    return answer["told"]


def picture(page: Path, target: Path, *, width: int = 1280, height: int = 900) -> None:
    """A screenshot."""
    _run(page, f"--window-size={width},{height}", f"--screenshot={target}")
