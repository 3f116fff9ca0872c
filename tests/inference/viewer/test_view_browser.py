"""The page of `argus view` in a real browser. Needs the group `browser`, Chromium and niivue (`make test-browser`)."""

import io
import json
import os
import re
import shutil
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from argus_inference.evidence.evidence_files import LIMITS
from argus_inference.preview import BONE, NOTICE
from argus_inference.viewer import scan_image as images
from argus_inference.viewer.niivue_file import SCRIPT
from argus_inference.viewer.view_server import View, build_app
from argus_inference.viewer.viewed_report import read_viewed_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if os.environ.get("ARGUS_REQUIRE_BROWSER"):
    from playwright import sync_api as playwright
else:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the group `browser` (make test-browser)")
    if CHROMIUM is None or not SCRIPT.exists():
        pytest.skip("needs Chromium and niivue, see make test-browser", allow_module_level=True)

PLANES = ("axial", "coronal", "sagittal")
SECRET = "a-secret-of-this-test"
# No graphics card is needed: SwiftShader draws on the processor.
DRAWING = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=DRAWING)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(written, serving) -> Iterator[str]:
    view = View(read_viewed_report(written.folder), written.volume)
    with serving(build_app(view, SECRET, ("127.0.0.1",))) as served:
        yield served


@pytest.fixture(scope="module")
def page(browser, address) -> Iterator["playwright.Page"]:
    """The open page, which keeps every address asked for and every complaint; it takes seconds to start."""
    page = browser.new_page(viewport={"width": 1180, "height": 600})
    page.set_default_timeout(120_000)
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda told: told.type == "error" and page.complaints.append(told.text))
    page.goto(f"{address}/#{SECRET}")
    page.wait_for_selector("body[data-ready]")
    yield page
    page.close()


@pytest.fixture(autouse=True)
def as_opened(page) -> Iterator[None]:
    """Every test begins at the first sentence, in the lung window, and ends without an error in the console."""
    press(page, "Escape", "0", "l")
    choose(page, 0)
    yield
    assert page.complaints == []


def crosshair(page) -> list[float]:
    return json.loads(page.get_attribute("#place", "data-mm"))


def at(page, plane: str) -> int:
    drawn(page)
    return int(page.get_attribute(f".plane.{plane}", "data-shown"))


def choose(page, number: int) -> str:
    page.click(f".sentence >> nth={number}")
    page.wait_for_selector(f'#evidence[data-shown="{number}"]')
    drawn(page)
    return page.inner_text("#told")


def index_of(written, number: int) -> list[int]:
    return [round(at) for at in np.linalg.solve(written.volume.affine, [*written.peaks_mm[number], 1.0])[:3]]


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
    drawn(page)


def drawn(page) -> None:
    page.wait_for_selector("#viewer:not([data-drawing])")


def middle_of(page, plane: str) -> tuple[float, float]:
    box = page.query_selector(f".plane.{plane} .picture").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def grey(page, plane: str) -> np.ndarray:
    """Shades on the screen in a plane, `(rows, columns)` 0 to 255."""
    drawn(page)
    box = page.query_selector(f".plane.{plane} .picture").bounding_box()
    with Image.open(io.BytesIO(page.screenshot(clip=box))) as picture:
        return np.asarray(picture.convert("L"), dtype=float)


def colours(page, plane: str) -> np.ndarray:
    """Colours on the screen in a plane, `(rows, columns, 3)` 0 to 255."""
    drawn(page)
    box = page.query_selector(f".plane.{plane} .picture").bounding_box()
    with Image.open(io.BytesIO(page.screenshot(clip=box))) as picture:
        return np.asarray(picture.convert("RGB"), dtype=float)


def share_of_map(shown: np.ndarray) -> float:
    return float((shown[..., 0] > shown[..., 2] + 60).mean())


def test_a_click_on_a_sentence_goes_to_the_peak_of_its_map(page, written):
    for number, peak in reversed([*enumerate(written.peaks_mm)]):
        assert choose(page, number).startswith("Support 5.3 nats.")
        assert crosshair(page) == pytest.approx(peak, abs=0.05)
        # As niivue has laid the map over the scan, it is largest there.
        assert "map 100 %" in page.inner_text("#place")
        index = index_of(written, number)
        assert f"{round(float(written.volume.hu[tuple(index)]))} HU" in page.inner_text("#place")
        assert [at(page, "axial"), at(page, "coronal"), at(page, "sagittal")] == index


def test_a_sentence_without_a_map_says_why_and_takes_the_map_away(page, written):
    assert choose(page, 2) == "Support 0.2 nats. No map: not carried by the image."
    assert "map" not in page.inner_text("#place").split("HU")[-1]
    assert crosshair(page) == pytest.approx(written.peaks_mm[0], abs=0.05)


def test_the_page_tells_its_limits_and_shows_the_text_as_text(page):
    told = [line.inner_text() for line in page.query_selector_all("#limits p")]
    assert told == [f"{NOTICE} {LIMITS}", "Warning: a phantom."]
    assert "phantoms only" in LIMITS and "not a medical device" in NOTICE and "written by a model" in NOTICE
    assert "<b>An effusion</b> on the left." in page.inner_text("#report")
    assert page.query_selector("#report b") is None


def test_sentences_are_marked_where_they_stand_behind_any_character(page, browser, address):
    def with_signs(route):
        content = route.fetch().json()
        content["report"] = "\U0001f600\U0001d6fc " + content["report"]
        for sentence in content["sentences"]:
            sentence |= {"start": sentence["start"] + 3, "end": sentence["end"] + 3}
        route.fulfill(json=content)

    other = browser.new_page()
    other.route("**/api/report", with_signs)
    other.goto(f"{address}/#{SECRET}")
    other.wait_for_selector(".sentence")
    told = [mark.inner_text() for mark in other.query_selector_all(".sentence")]
    assert told[0] == "A nodule in the right lung, 8 mm." and told[2] == "The heart is of normal size."
    assert other.inner_text("#report").startswith("\U0001f600\U0001d6fc A nodule")
    other.close()


def test_pictures_are_lettered_as_they_are_drawn(page, written):
    letters = {
        plane: [page.inner_text(f".plane.{plane} .edge.{side}") for side in ("left", "right", "top", "bottom")]
        for plane in ("axial", "coronal", "sagittal")
    }
    assert letters == {"axial": list("RLAP"), "coronal": list("RLHF"), "sagittal": list("APHF")}
    # The liver fills the patient's right: in the lowest coronal quarter the picture's left half is denser.
    press(page, "m", "e")
    shades = grey(page, "coronal")[-60:]
    half = shades.shape[1] // 2
    assert shades[:, :half].mean() > 1.1 * shades[:, half:].mean()


def test_keys_scroll_turn_to_other_planes_and_to_other_sentences(page, written):
    start = at(page, "axial")
    press(page, "ArrowDown")
    assert at(page, "axial") == start - 1  # down is toward the feet
    press(page, "PageUp")
    assert at(page, "axial") == start + 9
    for key, plane in (("c", "coronal"), ("s", "sagittal")):
        before = at(page, plane)
        press(page, key, "ArrowDown")
        assert at(page, plane) == before + 1  # toward the back, and the left
        assert "active" in page.get_attribute(f".plane.{plane}", "class")
    press(page, "a", "ArrowRight")
    page.wait_for_selector('#evidence[data-shown="1"]')
    assert crosshair(page) == pytest.approx(written.peaks_mm[1], abs=0.05)
    press(page, "ArrowLeft")
    page.wait_for_selector('#evidence[data-shown="0"]')
    assert crosshair(page) == pytest.approx(written.peaks_mm[0], abs=0.05)


def test_windows_follow_their_keys_and_shade_hu_as_they_say(page, written):
    press(page, "e")  # the map away
    for key, name in (("l", "lung"), ("m", "mediastinum"), ("b", "bone"), ("h", "brain")):
        press(page, key)
        pressed = page.query_selector_all('#windows [aria-pressed="true"]')
        assert [button.inner_text() for button in pressed] == [name]
    press(page, "b")
    assert f"W {BONE.width:.0f} L {BONE.level:.0f}" in " ".join(page.inner_text(".plane.axial .window").split())
    shades = grey(page, "axial")
    depth = at(page, "axial")
    rows, columns = written.volume.hu.shape[1:]
    low = BONE.level - BONE.width / 2
    for row, column in ((80, 50), (41, 20)):
        hu = written.volume.hu[depth, row - 1 : row + 2, column - 1 : column + 2].astype(float)
        y, x = ((place + 0.5) / size for place, size in ((row, rows), (column, columns)))
        drawn = shades[int(y * shades.shape[0]), int(x * shades.shape[1])]
        wanted = np.clip(255 * (hu - low) / BONE.width, 0, 255)
        assert wanted.min() - 3 <= drawn <= wanted.max() + 3


def test_the_mouse_scrolls_points_and_widens_the_window(page, written):
    x, y = middle_of(page, "coronal")
    before = at(page, "coronal")
    page.mouse.move(x, y)
    page.mouse.wheel(0, 120)
    page.wait_for_selector(".plane.coronal.active")
    assert at(page, "coronal") == before + 1
    # A click in the coronal picture near its upper left goes to the head and the patient's right.
    box = page.query_selector(".plane.coronal .picture").bounding_box()
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
    depth, _, width = written.volume.hu.shape
    assert at(page, "axial") == pytest.approx(0.9 * depth, abs=1)
    assert at(page, "sagittal") == pytest.approx(0.1 * width, abs=1)
    x, y = middle_of(page, "axial")
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 100, y - 50, steps=4)
    page.mouse.up(button="right")
    playwright.expect(page.locator(".plane.axial .window")).to_contain_text("W 1800  L -700")


def test_without_a_graphics_card_a_large_scan_has_larger_voxels(page, browser, address, written, monkeypatch):
    monkeypatch.setattr(images, "REDUCED_VOXELS", written.volume.hu.size // 7)
    large = browser.new_page(viewport={"width": 1180, "height": 600})
    large.set_default_timeout(120_000)
    large.goto(f"{address}/#{SECRET}")
    large.wait_for_selector("body[data-ready=reduced]")
    sizes = [
        size // step for size, step in zip(written.volume.hu.shape, images.reduced_steps(written.volume), strict=True)
    ]
    assert re.fullmatch(
        r"no graphics card: shown in voxels of (\d+\.0 x ){2}\d+\.0 mm, HU are their means", large.inner_text("#state")
    )
    for number, peak in enumerate(written.peaks_mm):
        assert choose(large, number).startswith("Support 5.3 nats.")
        assert crosshair(large) == pytest.approx(peak, abs=0.05)
        assert [large.inner_text(f".plane.{plane} .corner").split()[-1] for plane in PLANES] == [*map(str, sizes)]
    assert "map 9" in large.inner_text("#place") or "map 100" in large.inner_text("#place")
    large.click("#whole")
    large.wait_for_selector("body[data-ready=scan]")
    large.wait_for_selector('#evidence[data-shown="1"]')
    drawn(large)
    assert large.inner_text("#state") == "" and not large.is_visible("#whole")
    assert crosshair(large) == pytest.approx(written.peaks_mm[1], abs=0.05)
    assert [at(large, plane) for plane in PLANES] == index_of(written, 1)
    large.close()


def test_a_map_lies_over_the_scan_until_it_is_taken_away(page):
    choose(page, 0)
    with_map = colours(page, "axial")
    press(page, "e")
    without = colours(page, "axial")
    press(page, "e")
    page.wait_for_function("document.getElementById('viewer').viewer.map")
    again = colours(page, "axial")
    # The letters at the edges are of a colour of maps.
    assert share_of_map(with_map) > 4 * share_of_map(without)
    assert np.abs(again - with_map).mean() < 1


def test_the_ruler_measures_millimetres(page, written):
    box = page.query_selector(".plane.axial .picture").bounding_box()
    press(page, "r")
    assert page.get_attribute("#ruler", "aria-pressed") == "true"
    before = crosshair(page)
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    page.mouse.up()
    across = written.volume.hu.shape[2] * written.volume.spacing_mm[2]
    assert float(page.inner_text("#length").split()[0]) == pytest.approx(across / 2, abs=2)
    assert crosshair(page) == before
    press(page, "Escape")
    assert page.inner_text("#length") == "" and page.get_attribute("#ruler", "aria-pressed") == "false"


def test_zoom_keeps_the_crosshair_and_comes_back(page):
    def cross() -> list[float]:
        drawn(page)
        right, down = (page.query_selector(f".plane.axial .line.{name}").bounding_box() for name in ("right", "down"))
        return [down["x"], right["y"]]

    before, place = cross(), crosshair(page)
    press(page, "+", "+", "+")
    assert cross() == pytest.approx(before, abs=2) and crosshair(page) == place
    page.mouse.click(before[0] + 200, before[1])
    moved = crosshair(page)[0] - place[0]
    press(page, "0")
    page.mouse.click(before[0] + 200, before[1])
    assert crosshair(page)[0] - place[0] == pytest.approx(1.25**3 * moved, rel=0.1)


def test_the_scan_stands_in_3d_with_the_crosshair_in_it(page):
    box = page.query_selector(".plane.solid canvas").bounding_box()
    with Image.open(io.BytesIO(page.screenshot(clip=box))) as picture:
        colours = np.asarray(picture.convert("RGB"), dtype=int)
    assert (colours.max(axis=2) > 40).mean() > 0.05  # a body before a black ground
    blue = (colours[..., 2] > colours[..., 0] + 60) & (colours[..., 2] > 120)
    assert blue.sum() > 20


def test_nothing_is_asked_of_another_machine(page, address):
    assert len(page.asked) > 8
    assert all(asked.startswith((f"{address}/", "data:", "blob:")) for asked in page.asked)
    assert not any(SECRET in asked for asked in page.asked[1:])  # it is sent in no address


def test_without_the_secret_the_page_shows_nothing(browser, address, page):
    other = browser.new_page()
    for fragment in ("", "#guess"):
        other.goto("about:blank")
        other.goto(f"{address}/{fragment}")
        playwright.expect(other.locator("#trouble")).to_have_text("open the address that argus view printed")
        assert not other.is_visible("#page") and not re.search("nodule|effusion", other.content())
    other.close()
