"""The report in a real browser: by keyboard, by mouse, in light and in dark, without a network."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geodecloud.decloud import decloud_scene
from geodecloud.raster.report.index import Result, write_index
from geodecloud.settings import Settings
from tests.browser import CHROMIUM, Browser, browser
from tests.conftest import darken, write_scene

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]
VIEW = "document.getElementById('view')"
FOCUSED = "document.activeElement"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report of a grey scene whose right half is under cloud, which the network darkens."""
    folder = tmp_path_factory.mktemp("report")
    dn = np.full((3, 160, 240), 800, np.uint16)
    dn[:, :, 120:] = 2000
    src = write_scene(folder / "in.tif", dn)
    chosen = Settings(report=folder / "r.html", bands=(1, 2, 3), scale=10000)
    decloud_scene(src, folder / "out.tif", darken, chosen)
    return folder / "r.html"


@pytest.fixture
def page(chromium: Browser, report: Path) -> Browser:
    chromium.open(report, height=1400)  # high enough that no key scrolls it
    return chromium


def style(page: Browser, name: str) -> float:
    return float(page.run(f"{VIEW}.style.getPropertyValue('--{name}')").rstrip("px%"))


def colour(page: Browser, right: float, down: float) -> np.ndarray:
    """The colour of the view there, both from 0 to 1."""
    shot = Image.open(io.BytesIO(page.screenshot(whole=False))).convert("RGB")
    box = page.run(
        f"(({{x, y, width, height}}) => [x, y, width, height])({VIEW}.getBoundingClientRect())"
    )
    at = (int(box[0] + right * box[2]), int(box[1] + down * box[3]))
    return np.array(shot.getpixel(at), int)


def tab_to(page: Browser, element: str) -> None:
    """Press Tab until an element has the focus, as somebody without a mouse does."""
    for _ in range(30):
        page.press("Tab")
        if page.run(f"{FOCUSED}.id === '{element}' || {FOCUSED}.dataset.layer === '{element}'"):
            return
    raise AssertionError(f"Tab does not reach {element}")


def test_a_report_asks_nobody_for_anything(page):
    page.settled()
    assert page.requests == []
    assert page.run("[...document.images].every(one => one.complete && one.naturalWidth === 240)")


def test_keys_move_the_border_between_before_and_after(page):
    right = (0.9, 0.3)
    after = colour(page, *right)
    tab_to(page, "split")
    page.press("ArrowRight", 49)
    assert style(page, "split") == 99
    assert (colour(page, *right) > after + 50).all()  # the cloud of before
    page.press("Home")
    assert style(page, "split") == 0
    assert (abs(colour(page, *right) - after) < 3).all()


def test_the_mouse_drags_the_border_and_the_picture(page):
    x, y, width, height = page.run(
        f"(({{x, y, width, height}}) => [x, y, width, height])({VIEW}.getBoundingClientRect())"
    )
    middle = (x + width / 2, y + height / 3)
    page.drag(middle, (x + width / 4, middle[1]))
    assert style(page, "split") == pytest.approx(25, abs=1)
    for _ in range(4):
        page.run("document.getElementById('larger').click()")
    before = style(page, "x")
    start = (x + 0.7 * width, middle[1])
    page.drag(start, (start[0] - 50, start[1]))
    assert style(page, "x") == pytest.approx(before - 50, abs=1)
    assert style(page, "split") == pytest.approx(25, abs=1)


@pytest.mark.parametrize("layer", ["layer-provenance", "layer-opacity"])
def test_keys_switch_the_layers(page, layer):
    without = colour(page, 0.9, 0.3)
    tab_to(page, layer)
    page.press("Space")
    assert (abs(colour(page, 0.9, 0.3) - without).max()) > 30
    assert (abs(colour(page, 0.2, 0.3) - colour(page, 0.25, 0.3)) < 3).all()  # clear land
    page.press("Space")
    assert (abs(colour(page, 0.9, 0.3) - without) < 3).all()


def test_keys_zoom_and_move_the_picture(page):
    tab_to(page, "view")
    fitted = style(page, "scale")
    page.press("+", 2)
    assert style(page, "scale") == pytest.approx(2 * fitted, rel=0.01)
    before = style(page, "x")
    page.press("ArrowRight")
    assert style(page, "x") == pytest.approx(before - 60)
    page.press("1")
    assert style(page, "scale") == 1
    assert page.run("document.getElementById('zoom').textContent") == "100 %"
    page.press("0")
    assert style(page, "scale") == fitted
    page.press("-", 20)
    assert style(page, "scale") == pytest.approx(min(fitted, 1))


def test_the_focus_is_seen_on_every_control(page):
    seen = set()
    for _ in range(20):
        page.press("Tab")
        name = page.run(f"{FOCUSED}.id || {FOCUSED}.dataset.layer || ''")
        if not name:
            break
        assert page.run(f"getComputedStyle({FOCUSED}).outlineStyle") == "solid", name
        seen.add(name)
    assert seen >= {
        "view",
        "split",
        "smaller",
        "larger",
        "fit",
        "pixels",
        "layer-provenance",
        "layer-opacity",
        "strength",
    }


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_in_light_and_in_dark(chromium, report, dark):
    chromium.open(report, dark=dark)
    colours = chromium.run(
        "['body', 'section', '.note', '.legend .none', 'caption', '.figure dt'].flatMap(name => {"
        "const one = document.querySelector(name); const ink = getComputedStyle(one).color;"
        "let under = one; while (getComputedStyle(under).backgroundColor === 'rgba(0, 0, 0, 0)')"
        "under = under.parentElement;"
        "return [[ink, getComputedStyle(under).backgroundColor]]; })"
    )
    for ink, paper in colours:
        light = sorted(map(luminance, (ink, paper)))
        assert (light[1] + 0.05) / (light[0] + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
        assert (luminance(paper) < 0.2) == dark


def luminance(colour: str) -> float:
    """The relative luminance of "rgb(1, 2, 3)", by WCAG 2.2."""
    levels = np.array(colour[4:-1].split(","), float) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("width", [320, 768, 1600])
def test_a_report_fits_screens_of_any_width(chromium, report, width):
    chromium.open(report, width=width)
    assert chromium.run("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """The page of a batch of four scenes, of which one has failed."""
    folder = tmp_path_factory.mktemp("batch")
    shares = {"b.tif": (0.5, 0.1), "a.tif": (0.25, 0.2), "c.tif": (1.0, 0.0)}
    results = [
        Result(name, None, None, {"changed_fraction": changed, "invented_fraction": invented})
        for name, (changed, invented) in shares.items()
    ]
    write_index(folder / "i.html", [Result("bad.tif", "damaged", None, {}), *results])
    return folder / "i.html"


@pytest.mark.parametrize(
    ("name", "orders"),
    [
        ("changed_fraction", ("c b a bad", "a b c bad")),
        ("invented_fraction", ("a b c bad", "c b a bad")),
        ("source", ("a b bad c", "c bad b a")),
    ],
)
def test_keys_sort_the_scenes_of_a_batch(chromium, index, name, orders):
    chromium.open(index)
    for _ in range(5):
        chromium.press("Tab")
        if chromium.run(f"{FOCUSED}.dataset.sort === '{name}'"):
            break
    assert chromium.run(f"getComputedStyle({FOCUSED}).outlineStyle") == "solid"
    for order, key in zip(orders, ("Enter", "Space"), strict=True):
        chromium.press(key)
        names = chromium.run("[...document.querySelectorAll('tbody th')].map(one => one.innerText)")
        assert names == [f"{one}.tif" for one in order.split()]
    last = "ascending" if name != "source" else "descending"
    assert chromium.run(f"{FOCUSED}.closest('th').ariaSort") == last
    assert chromium.run("document.querySelectorAll('[aria-sort=none]').length") == 2
    assert chromium.requests == []
