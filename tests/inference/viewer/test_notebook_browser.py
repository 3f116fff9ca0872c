"""Reports in JupyterLab, in a real browser. Needs Chromium, and the groups that `make test-notebook` installs."""

import io
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if os.environ.get("ARGUS_REQUIRE_BROWSER"):
    import jupyter_client
    import nbformat
    from playwright import sync_api as playwright
else:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the group `browser` (make test-notebook)")
    nbformat = pytest.importorskip("nbformat", reason="needs JupyterLab, of the group `jupyter` (make test-notebook)")
    jupyter_client = pytest.importorskip(
        "jupyter_client", reason="needs JupyterLab, of the group `jupyter` (make test-notebook)"
    )
    pytest.importorskip("jupyterlab", reason="needs JupyterLab, of the group `jupyter` (make test-notebook)")
    pytest.importorskip("ipyniivue", reason="needs the extra `notebook`")
    if CHROMIUM is None:
        pytest.skip("needs Chromium, see make test-notebook", allow_module_level=True)

DRAWING = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
# Neither news nor a newer release is asked for.
QUIET = ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/")


def cells(written) -> list[str]:
    report = (
        f"ScanReport({str(written.scan)!r}, {written.report!r}, 'RAS', (6.0, 4.0, 4.0), (-1000.0, 900.0), (), False)"
    )
    return [
        f"from argus_inference.scan_reports import ScanReport\nreport = {report}\nreport",
        "report.show()",
        f"report.show({str(written.folder)!r}, sentence=1)",
    ]


@pytest.fixture(scope="module")
def lab(written, tmp_path_factory) -> Iterator[str]:
    """Start JupyterLab on this machine's own address; give that of a notebook."""
    folder = tmp_path_factory.mktemp("lab")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells(written)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, folder / "report.ipynb")
    token = secrets.token_urlsafe()
    own = {name: str(folder / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {"IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"}
    asked = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"]
    asked += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *asked, *QUIET],
        env={**os.environ, **own},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = next(found[1] for line in server.stderr if (found := ADDRESS.search(line)))
        # A pipe that nobody reads would stop the server.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        start_kernel(f"http://127.0.0.1:{port}", token, folder / "JUPYTER_RUNTIME_DIR")
        yield f"http://127.0.0.1:{port}/lab/tree/report.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait()


def start_kernel(address: str, token: str, runtime: Path) -> None:
    """Start the notebook's kernel and wait until it answers; a page that comes sooner may miss its first answer."""
    asked = {"path": "report.ipynb", "type": "notebook", "name": "", "kernel": {"name": "python3"}}
    headers = {"Authorization": f"token {token}"}
    answer = httpx.post(f"{address}/api/sessions", json=asked, headers=headers, timeout=60).raise_for_status().json()
    client = jupyter_client.BlockingKernelClient(connection_file=str(runtime / f"kernel-{answer['kernel']['id']}.json"))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=120)
    client.stop_channels()


@pytest.fixture(scope="module")
def page(lab) -> Iterator["playwright.Page"]:
    """The notebook after all its cells have run; it keeps every address asked for and every complaint."""
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=DRAWING)
        page = browser.new_page(viewport={"width": 1200, "height": 2600})
        page.set_default_timeout(240_000)
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("websocket", lambda socket: page.asked.append(socket.url))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("console", lambda told: told.type == "error" and page.complaints.append(told.text))
        page.goto(lab)
        # Idle is told once the page is connected to the kernel.
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]")
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        playwright.expect(page.locator(".jp-OutputArea canvas")).to_have_count(2, timeout=240_000)
        yield page
        browser.close()


def colours(page, number: int, is_drawn: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The colours of a view, `(rows, columns, 3)`, once what is waited for is drawn: volumes come in parts."""
    canvas = page.locator(".jp-OutputArea canvas").nth(number)
    for _ in range(240):
        with Image.open(io.BytesIO(canvas.screenshot())) as picture:
            shown = np.asarray(picture.convert("RGB"), dtype=int)
        if is_drawn(shown):
            return shown
        page.wait_for_timeout(500)
    raise AssertionError("it was not drawn")


def has_a_scan(shown: np.ndarray) -> bool:
    return len(np.unique(shown.reshape(-1, 3), axis=0)) > 100


def share_of_map(shown: np.ndarray) -> float:
    return float(((shown[..., 0] > shown[..., 2] + 60) & (shown[..., 0] > 150)).mean())


def test_a_report_stands_with_its_picture_and_no_markup_of_its_own(page):
    shown = page.locator(".jp-RenderedHTMLCommon").first
    assert "<b>An effusion</b> on the left." in shown.inner_text() and "not a medical device" in shown.inner_text()
    assert shown.locator("img").evaluate("picture => picture.naturalWidth") > 500


def test_the_scan_is_drawn_and_a_map_lies_over_it(page):
    mapped = colours(page, 1, lambda shown: has_a_scan(shown) and share_of_map(shown) > 1e-3)
    plain = colours(page, 0, has_a_scan)
    assert share_of_map(plain) < 1e-4 and share_of_map(mapped) < 0.2


def test_a_sentence_stands_above_its_map_with_the_limits_of_maps(page):
    told = page.locator(".jp-OutputArea .widget-html").last.inner_text()
    assert told.startswith("A nodule in the right lung, 8 mm.") and "phantoms only" in told


def test_nothing_is_asked_of_another_machine_and_nothing_fails(page):
    assert len(page.asked) > 10
    outside = [asked for asked in page.asked if not re.match(r"(blob:)?(http|ws)://127\.0\.0\.1:|data:", asked)]
    assert outside == [] and page.complaints == []
