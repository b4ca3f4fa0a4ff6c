"""A page of the project in headless Chromium, opened from the disk as a reader opens it."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""

needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here: apt-get install chromium"
)

_AROUND = """
<script>
const found = {{ errors: [] }};
addEventListener("error", (event) => found.errors.push(event.message));
addEventListener("unhandledrejection", (event) => found.errors.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => found.errors.push(event.violatedDirective));
// The browser's clock runs ahead while a timer waits, but not while an image is decoded.
const until = async (isSo) => {{
  for (let i = 0; i < 20000 && !isSo(); i++) {{
    await new Promise((done) => setTimeout(done, 100));
    btoa("x".repeat(100000));
  }}
  if (!isSo()) found.errors.push(`never: ${{isSo}}`);
}};
(async () => {{
  try {{ {script} }} catch (error) {{ found.errors.push(String(error)); }}
  found.requests = performance.getEntriesByType("resource").map((each) => each.name);
  document.body.innerHTML = "";
  document.body.dataset.found = JSON.stringify(found);
}})();
</script>
"""


def look(page: str, script: str, folder: Path) -> dict[str, Any]:
    """Run a script in the page; returns what it has put into `found`, errors and requests too.

    It waits for what is not computed at once with `await until(() => ...)`, and not for promises.
    """
    copy = folder / "looked_at.html"
    copy.write_text(page.replace("</body>", _AROUND.format(script=script) + "</body>"))
    done = dom_of(copy, milliseconds=5_000_000, seconds=240)
    text = re.search(r'<body data-found="([^"]*)"', done.stdout)
    assert text, done.stderr
    return json.loads(unescape(text[1]))


def dom_of(page: Path, *, milliseconds: int, seconds: int) -> subprocess.CompletedProcess[str]:
    """Render the page for a given virtual time: the page on stdout, its console on stderr."""
    command = [
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",  # in containers there are no user namespaces
        "--disable-gpu",
        "--window-size=1280,1200",
        f"--virtual-time-budget={milliseconds}",
        "--enable-logging=stderr",
        f"--user-data-dir={page.with_name('profile')}",
        "--dump-dom",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
