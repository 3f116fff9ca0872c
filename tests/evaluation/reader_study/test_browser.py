"""The reader study in a real browser. Needs the group `browser`, Chromium and niivue (`make test-browser`)."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from argus_evaluation.benchmark.run_list import read_runs
from argus_evaluation.reader_study.answers import AnswerFile, read_answers
from argus_evaluation.reader_study.links import ReaderLinks
from argus_evaluation.reader_study.server import build_app
from argus_evaluation.reader_study.study import build_study
from argus_evaluation.reader_study.study_scans import RecentVolumes
from argus_inference.preview import MEDIASTINUM
from argus_inference.viewer.niivue_file import SCRIPT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if os.environ.get("ARGUS_REQUIRE_BROWSER"):
    from playwright import sync_api as playwright
else:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the group `browser` (make test-browser)")
    if CHROMIUM is None or not SCRIPT.exists():
        pytest.skip(
            "needs Chromium (apt-get install chromium) and niivue, see make test-browser", allow_module_level=True
        )

# No graphics card is needed: SwiftShader draws on the processor, which takes its time on a busy machine.
DRAWING = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
PATIENCE_MS = 120_000
playwright.expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=DRAWING)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable[[str], "playwright.Page"]]:
    """Open a reader's link; the page keeps every address asked for and every script error."""
    context = browser.new_context(viewport={"width": 1180, "height": 600})

    def open_at(url: str) -> "playwright.Page":
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.asked, page.errors = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda told: is_complaint(told) and page.errors.append(told.text))
        page.goto(url)
        wait_for_planes(page)
        return page

    yield open_at
    context.close()


@pytest.fixture
def links(tmp_path) -> ReaderLinks:
    return ReaderLinks(tmp_path / "readers.json", ["ab", "Zoë O'Brien"])


@pytest.fixture
def address(study_runs, split, links, serving, tmp_path) -> Iterator[str]:
    """A server in this process, for what needs no kill."""
    answers = AnswerFile(tmp_path / "answers.jsonl")
    paths = {("phantom", row["scan_id"]): Path(row["image"]["path"]) for row in split}
    app = build_app(build_study(read_runs(study_runs[0])), answers, RecentVolumes(paths), links, ("127.0.0.1",))
    with serving(app) as served:
        yield served
    answers.close()


@pytest.fixture
def page(open_page, address, links) -> "playwright.Page":
    return open_page(f"{address}/#{dict(links.items())['ab']}")


def is_complaint(told) -> bool:
    """Tell an error of the console from requests that were answered with one, which some tests are about."""
    return told.type == "error" and not told.text.startswith("Failed to load resource")


def wait_for_planes(page) -> None:
    for plane in ("axial", "coronal", "sagittal"):
        page.wait_for_selector(f".plane.{plane}[data-shown]")
    page.wait_for_selector("#viewer:not([data-drawing])")


def wait_saved(page) -> None:
    page.wait_for_selector("#saved.saved")


def checked(page) -> str | None:
    found = page.query_selector('#scores [aria-checked="true"] b')
    return found and found.inner_text()


def letter(page) -> str:
    return page.get_attribute('#letters [aria-selected="true"]', "aria-label")


def pixels(page, plane: str) -> list[list[int]]:
    """Shades on the screen in a plane's picture, rows of 0 to 255."""
    page.wait_for_selector("#viewer:not([data-drawing])")
    box = page.query_selector(f".plane.{plane} .picture").bounding_box()
    with Image.open(BytesIO(page.screenshot(clip=box))) as picture:
        return np.asarray(picture.convert("L")).tolist()


def test_a_study_is_read_by_keys_and_clicks_through_a_kill(open_page, study_server, study_runs):
    page = open_page(f"{study_server.url}#{study_server.secrets['ab']}")
    page.keyboard.press("4")
    page.keyboard.press("ArrowRight")
    page.click('#scores button:has-text("2")')
    wait_saved(page)
    assert [line.score for line in read_answers(study_server.answers)] == [4, 2]

    page.keyboard.press("t")
    page.keyboard.type("1 nodule missed, n")  # keys that score or turn cases are letters while one writes
    page.keyboard.press("Escape")
    wait_saved(page)
    assert read_answers(study_server.answers)[-1].comment == "1 nodule missed, n"

    # The server dies between two clicks. The next click waits, and says so, until the server is there again.
    study_server.kill()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("5")
    # Between two tries it says that it saves.
    playwright.expect(page.locator("#saved")).to_contain_text("NOT SAVED")
    study_server.start()
    wait_saved(page)
    assert [line.score for line in read_answers(study_server.answers)] == [4, 2, None, 5]
    assert page.inner_text("#progress-text") == "1 of 4 complete"

    page.keyboard.press("n")
    playwright.expect(page.locator("#case-title")).to_have_text("Case 2 of 4")
    page.keyboard.press("1")
    wait_saved(page)
    study_server.kill()
    study_server.start()
    page.reload()
    wait_for_planes(page)
    assert page.inner_text("#case-title") == "Case 2 of 4"
    assert (letter(page), checked(page)) == ("Report B", None)
    page.keyboard.press("p")
    playwright.expect(page.locator("#case-title")).to_have_text("Case 1 of 4")
    shown = []
    for name in ("Report A", "Report B", "Report C"):
        assert letter(page) == name
        shown.append((checked(page), page.input_value("#comment"), page.inner_text("#report")))
        page.keyboard.press("ArrowRight")
    assert [score for score, _, _ in shown] == ["4", "2", "5"]
    assert [comment for _, comment, _ in shown] == ["", "1 nodule missed, n", ""]

    # What was saved belongs to the systems whose texts were on the screen.
    told = study_runs[1]
    for line, (_, _, text) in zip([*read_answers(study_server.answers)][:2], shown, strict=False):
        assert told[line.system][line.scan_id] == text
    assert page.errors == []


def test_the_browser_sees_no_names_and_asks_for_nothing_from_outside(page):
    home, _, secret = page.url.partition("#")
    for key in ("ArrowRight", "n", "m", "s", "PageDown"):
        page.keyboard.press(key)
    playwright.expect(page.locator("#case-title")).to_have_text("Case 2 of 4")
    wait_for_planes(page)
    assert len(page.asked) > 10
    assert all(address.startswith((home, "data:")) for address in page.asked)
    assert secret and not any(secret in address for address in page.asked[1:])  # it is sent in no address
    seen = " ".join([page.content(), page.evaluate("document.body.innerText"), *page.asked])
    for name in ("Argus", "M3D", "RadFM"):
        assert not re.search(rf"(?<!\w){name}(?!\w)", seen, re.IGNORECASE)
    assert page.errors == []


def test_planes_windows_and_slices_follow_keys_wheel_and_mouse(page):
    def at(plane: str) -> int:
        """The slice a plane says it is at, counted from 0, once it is on the screen."""
        index = int(page.inner_text(f".plane.{plane} .corner").split()[1]) - 1
        page.wait_for_selector(f".plane.{plane}[data-shown='{index}']")
        return index

    start = at("axial")
    page.keyboard.press("ArrowDown")
    assert at("axial") == start - 1  # down is toward the feet
    page.keyboard.press("PageUp")
    assert at("axial") == start + 9
    middle = at("coronal")
    box = page.query_selector(".plane.coronal .picture").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, 120)
    page.wait_for_selector(".plane.coronal.active")
    assert at("coronal") == middle + 1

    lung = pixels(page, "axial")
    page.keyboard.press("m")
    assert page.get_attribute('#windows button:has-text("mediastinum")', "aria-pressed") == "true"
    label = f"W {MEDIASTINUM.width:.0f} L {MEDIASTINUM.level:.0f}"
    assert label in " ".join(page.inner_text(".plane.axial .window").split())
    assert pixels(page, "axial") != lung

    # A click in the coronal picture near its upper left goes to the head and the patient's right.
    box = page.query_selector(".plane.coronal .picture").bounding_box()
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
    count = int(page.inner_text(".plane.axial .corner").split("/")[1])
    columns = int(page.inner_text(".plane.sagittal .corner").split("/")[1])
    assert at("axial") == pytest.approx(0.9 * count, abs=2)
    assert at("sagittal") == pytest.approx(0.1 * columns, abs=2)
    assert page.errors == []


def test_pictures_are_lettered_and_shaped_as_the_patient_is(page):
    letters = {
        plane: [page.inner_text(f".plane.{plane} .edge.{side}") for side in ("left", "right", "top", "bottom")]
        for plane in ("axial", "coronal", "sagittal")
    }
    assert letters == {"axial": list("RLAP"), "coronal": list("RLHF"), "sagittal": list("APHF")}
    for plane in letters:
        box = page.query_selector(f".plane.{plane} .picture").bounding_box()
        frame = page.query_selector(f".plane.{plane}").bounding_box()
        assert box["width"] <= frame["width"] + 1 and box["height"] <= frame["height"] + 1
    # The liver fills the patient's right: in the lowest coronal third the picture's left half is denser.
    page.keyboard.press("m")
    rows = pixels(page, "coronal")
    low = rows[-len(rows) // 4 :]
    half = len(low[0]) // 2
    left, right = (sum(sum(row[part]) for row in low) for part in (slice(0, half), slice(half, None)))
    assert left > 1.1 * right


def test_of_two_windows_the_later_one_says_so_and_loses_nothing(open_page, address, links, tmp_path):
    link = f"{address}/#{dict(links.items())['ab']}"
    first, second = open_page(link), open_page(link)
    first.keyboard.press("2")
    wait_saved(first)
    second.keyboard.press("5")
    second.wait_for_selector("#saved.failing")
    assert "scored 2" in second.inner_text("#saved")
    playwright.expect(second.locator('#scores [aria-checked="true"] b')).to_have_text("2")
    wait_saved(second)
    second.keyboard.press("5")  # having seen it
    wait_saved(second)
    assert [line.score for line in read_answers(tmp_path / "answers.jsonl")] == [2, 5]

    for page, text, outcome in ((first, "lung fine", "saved"), (second, "rib missed", "failing")):
        page.keyboard.press("t")
        page.keyboard.type(text)
        page.keyboard.press("Escape")
        page.wait_for_selector(f"#saved.{outcome}")
    assert "lung fine" in second.inner_text("#saved") and second.input_value("#comment") == "rib missed"
    wait_saved(second)
    second.keyboard.press("t")
    second.keyboard.type("!")
    second.keyboard.press("Escape")
    wait_saved(second)
    assert [line.comment for line in read_answers(tmp_path / "answers.jsonl")][2:] == ["lung fine", "rib missed!"]
    assert first.errors == second.errors == []


def test_a_page_without_a_readers_link_shows_nothing(page, address, links):
    for fragment in ("", "#ab", "#" + dict(links.items())["ab"][:-1]):
        page.goto("about:blank")
        page.goto(f"{address}/{fragment}")
        playwright.expect(page.locator("#welcome")).to_be_visible()
        assert "open the link" in page.inner_text("#welcome").lower() and not page.is_visible("#study")
    secret = dict(links.items())["Zoë O'Brien"]
    page.goto(f"{address}/#{secret}")
    wait_for_planes(page)
    assert page.inner_text("#reader") == "Zoë O'Brien"
