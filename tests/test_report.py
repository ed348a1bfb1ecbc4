"""The report of a scene: one page for people, complete in itself."""

import base64
import io
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import rasterio
from PIL import Image

from geodecloud.batch.plan import INDEX, Naming
from geodecloud.decloud import Report, decloud_scene
from geodecloud.errors import OutputError, RadiometryWarning, UsageError
from geodecloud.raster.preview import picture_of
from geodecloud.raster.provenance import read_provenance
from geodecloud.raster.report import pictures as pictures_module
from geodecloud.raster.report.index import Result, write_index
from geodecloud.raster.report.page import read_facts
from geodecloud.raster.report.pictures import Pictures
from geodecloud.restore_arrays import restore_array
from geodecloud.settings import Settings
from tests.conftest import darken, identity, noise, read, write_scene


class Page(HTMLParser):
    """The elements of a page, and its visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text, self._within = "", ""
        self.feed(path.read_text("utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._within = tag

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        if self._within not in ("style", "script"):
            self.text += f"{data} "

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def image_of(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def made(src: Path, folder: Path, network: Any = darken, **options: Any) -> tuple[Page, Report]:
    report = decloud_scene(
        src, folder / "out.tif", network, Settings(report=folder / "r.html", **options)
    )
    return Page(folder / "r.html"), report


def test_a_report_shows_the_scene_before_and_after_in_its_own_pixels(tmp_path, scene):
    page, report = made(scene, tmp_path, provenance=tmp_path / "p.tif")
    images = [image_of(one["src"]) for one in page.named("img")]
    codes = read_provenance(tmp_path / "p.tif")
    assert {image.size for image in images} == {(90, 100)}
    for image, path in zip(images, (scene, tmp_path / "out.tif"), strict=False):
        shown = picture_of(read(path), codes, report.radiometry).astype(float)
        assert abs(np.asarray(image.convert("RGB")) - shown).mean() < 8  # JPEG
    assert (np.asarray(images[2]) == codes).all()  # provenance: a palette, so without loss


def test_a_report_says_what_was_done_with_what(tmp_path, scene):
    page, report = made(scene, tmp_path, opaque_above=0.9, scale=9000, offset=-50)
    assert 0 < report.changed_fraction < 1
    assert f"changed, of all pixels with data {100 * report.changed_fraction:.1f} %" in page.text
    for fact in ("scene.tif", "90 x 100 pixels", "EPSG:32633", "9000", "-50", "opaque_above 0.9"):
        assert fact in page.text, fact
    for meaning in ("measured, unchanged", "filled: invented", "relit in a cloud's shadow"):
        assert meaning in page.text


def test_a_report_needs_nothing_beside_it(tmp_path, scene):
    page, _ = made(scene, tmp_path)
    text = (tmp_path / "r.html").read_text("utf-8")
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, name)
    assert not page.named("link")
    assert not page.named("base")
    without_data = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", text)
    for outward in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "XMLHttpRequest"):
        assert outward not in without_data
    (policy,) = [one["content"] for one in page.named("meta") if "http-equiv" in one]
    assert policy.startswith("default-src 'none'")


def test_a_report_takes_no_text_for_markup(tmp_path):
    evil = "<script>alert(1)</script>&\"'<!--picture-->"
    src = tmp_path / f"{evil.replace('/', '')}.tif"
    write_scene(src, noise((3, 40, 30)))
    with rasterio.open(src, "r+") as file:
        file.descriptions = (evil, "</script><img src=x>", "b")
        file.colorinterp = [rasterio.enums.ColorInterp[name] for name in ("red", "green", "blue")]
    page, _ = made(src, tmp_path)
    assert [one.get("type") for one in page.named("script")] == ["application/json", None]
    assert all(one["src"].startswith("data:") for one in page.named("img"))
    assert len(page.named("img")) == 4
    assert "<script>alert(1)<" in page.text
    assert read_facts(tmp_path / "r.html")["source"] == src.name


def test_every_control_of_a_report_has_a_name(tmp_path, scene):
    page, _ = made(scene, tmp_path)
    labelled = {one["for"] for one in page.named("label") if "for" in one}
    text = (tmp_path / "r.html").read_text("utf-8")
    for one in page.named("input"):
        within = re.search(r"<label[^>]*>\s*<input " + re.escape(f'type="{one["type"]}"'), text)
        assert one.get("id") in labelled or within or "aria-label" in one
    assert all(one["alt"] for one in page.named("img"))
    assert page.named("html") == [{"lang": "en"}]
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))


def test_the_same_scene_gives_the_same_report(tmp_path, scene):
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made(scene, tmp_path / name, max_memory="2GiB" if name == "a" else "600MiB")
        texts.append((tmp_path / name / "r.html").read_bytes())
    assert texts[0] == texts[1]


def test_a_report_lists_the_warnings_of_its_run_alone(tmp_path, scene):
    src = write_scene(tmp_path / "dark.tif", noise((3, 200, 200)) // 400)
    with pytest.warns(RadiometryWarning) as told:
        page, _ = made(src, tmp_path, force=True)
    name = re.sub(r"`(\w+)`", r" \1 ", str(told[0].message))
    assert name.split() == page.text.split("Warnings", 1)[1].split()[: len(name.split())]
    (tmp_path / "b").mkdir()
    page, _ = made(scene, tmp_path / "b", scale=10000, bands=(1, 2, 3))
    assert "Warnings" not in page.text


def test_a_large_scene_is_shown_by_every_nth_pixel(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures_module, "LONGEST", 100)
    src = write_scene(tmp_path / "in.tif", noise((3, 203, 310)))
    page, report = made(src, tmp_path, fill_limit=100, provenance=tmp_path / "p.tif")
    images = [image_of(one["src"]) for one in page.named("img")]
    assert {image.size for image in images} == {(78, 51)}
    assert (np.asarray(images[2]) == read_provenance(tmp_path / "p.tif")[::4, ::4]).all()
    assert "every 4th pixel of every 4th row" in page.text
    assert f"{100 * report.changed_fraction:.1f} %" in page.text  # of all pixels, not of those


def test_a_scene_without_data_has_a_report(tmp_path):
    src = write_scene(tmp_path / "in.tif", np.zeros((3, 20, 20), np.uint16), nodata=0)
    page, _ = made(src, tmp_path)
    assert "0.0 %" in page.text
    assert not {"nan", "NaN", "inf"} & set(page.text.split())


def test_programs_read_the_shares_from_a_report(tmp_path, scene):
    _, report = made(scene, tmp_path)
    facts = read_facts(tmp_path / "r.html")
    assert {name: facts[name] for name in report.fractions()} == report.fractions()
    assert image_of(facts["before"]).size == (90, 100)
    (tmp_path / "other.html").write_text("<html></html>")
    assert read_facts(tmp_path / "other.html") is None
    assert read_facts(tmp_path / "none.html") is None


def test_a_report_is_written_like_the_other_outputs(tmp_path, scene):
    before = set(tmp_path.iterdir())

    def broken(patches, _):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(scene, tmp_path, broken)
    assert set(tmp_path.iterdir()) == before
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(OutputError, match=r"r\.html: exists already"):
        made(scene, tmp_path)
    assert (tmp_path / "r.html").read_text() == "mine"
    made(scene, tmp_path, overwrite=True)
    with pytest.raises(UsageError, match="the report is a web page"):
        decloud_scene(scene, tmp_path / "o.tif", identity, Settings(report=tmp_path / "r.pdf"))
    with pytest.raises(UsageError, match="leave out `report`"):
        restore_array(noise((3, 9, 9)), identity, Settings(report=tmp_path / "r.html"))


def test_a_report_changes_no_other_output(tmp_path, scene):
    decloud_scene(scene, tmp_path / "alone.tif", darken)
    made(scene, tmp_path)
    assert (tmp_path / "alone.tif").read_bytes() == (tmp_path / "out.tif").read_bytes()
    assert json.loads((tmp_path / "r.html").read_text().split('id="facts">')[1].split("</")[0])


def test_warnings_of_all_threads_of_a_run_are_its_own(tmp_path):
    def opaque(patches, _):
        return np.concatenate([patches, np.ones_like(patches[:, :1])], axis=1)

    pages = {}

    def restore(name: str) -> None:
        (tmp_path / name).mkdir()
        src = write_scene(tmp_path / name / f"{name}.tif", noise((3, 150, 150)))
        pages[name], _ = made(src, tmp_path / name, opaque, force=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(restore, ("one", "two")))
    for name, other in (("one", "two"), ("two", "one")):
        assert "no ground is visible" in pages[name].text  # told by a thread of the fill
        assert "100% of its valid pixels are invented" in pages[name].text  # after all rows
        assert f"{name}.tif: does not name its bands" in pages[name].text
        assert f"{other}.tif" not in pages[name].text


def test_shadow_is_a_layer_where_the_network_finds_some(tmp_path, scene, monkeypatch):
    found = np.zeros((2, 100, 90), np.uint8)
    found[1, 20:40] = 60
    add = Pictures.add

    def with_shadow(pictures, first, rgb, codes, _):
        add(pictures, first, rgb, codes, found[:, first : first + len(codes)])

    monkeypatch.setattr(Pictures, "add", with_shadow)
    images = made(scene, tmp_path)[0].named("img")
    assert [one["alt"] for one in images[2:]] == ["Provenance", "Cloud opacity", "Cloud shadow"]
    layers = [np.asarray(image_of(one["src"])) for one in images[3:]]
    assert (np.stack(layers) == found).all()


# --- batch ---------------------------------------------------------------------------------


def test_the_page_of_a_batch_shows_its_scenes_and_links_to_their_reports(tmp_path, scene):
    folder = tmp_path / "a b #<c>"
    folder.mkdir()
    _, report = made(scene, folder)
    results = [
        Result("x/<i>one.tif", None, folder / "r.html", report.fractions(), 2),
        Result("two.tif", "two.tif: damaged & <b>", None, {}),
        Result("gone.tif", None, tmp_path / "gone.html", {"changed_fraction": 0.5}),
    ]
    write_index(tmp_path / "i.html", results)
    text = (tmp_path / "i.html").read_bytes()
    page = Page(tmp_path / "i.html")
    (link,) = page.named("a")
    assert (tmp_path / unquote(link["href"])).resolve() == folder / "r.html"
    assert [image_of(one["src"]).size for one in page.named("img")] == [(90, 100)] * 2
    assert not page.named("i")
    assert not page.named("b")
    for words in (
        "<i>one.tif",
        "two.tif: damaged & <b>",
        "gone.tif",
        f"{report.changed_fraction:.1%}",
    ):
        assert words.replace("%", " %") in page.text
    rows = [one for one in page.named("tr") if "data-source" in one]
    assert [one.get("data-changed_fraction") for one in rows][1:] == [None, "0.500000"]
    write_index(tmp_path / "i.html", results)
    assert (tmp_path / "i.html").read_bytes() == text
    for tag, attributes in page.elements:
        assert attributes.get("src", "data:").startswith("data:"), tag


@pytest.mark.skipif(os.name == "nt", reason="names of any bytes")
def test_the_page_of_a_batch_has_names_of_any_bytes(tmp_path):
    name = os.fsdecode(b"sc\xe4ne.tif")  # which GDAL cannot open
    write_index(tmp_path / "i.html", [Result(name, f"{name}: cannot be opened", None, {})])
    assert Page(tmp_path / "i.html").text.count("sc\ufffdne.tif") == 2


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{stem}.png", "`report` is '{stem}.png': the report is a web page, so end it in .html"),
        ("geodecloud-report.html", "that page lists all reports"),
    ],
)
def test_a_pattern_of_reports_that_cannot_be_is_refused(pattern, message):
    with pytest.raises(UsageError) as refusal:
        Naming(report=pattern)
    assert message in str(refusal.value)


@pytest.mark.slow
def test_a_batch_lists_all_its_scenes_also_those_of_earlier_runs(cli, tmp_path, tiny_model):
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.tif", "sub/c.tif"):
        write_scene(folder / name, noise((3, 80, 70)))
    command = ["batch", folder, out, "--recursive", "--model", tiny_model, "-q"]
    command += ["--report", "{stem}_r.html"]
    index = out / INDEX
    assert cli(*command).code == 0, cli.err
    first = index.read_bytes()
    assert sorted(one["href"] for one in Page(index).named("a")) == ["./a_r.html", "./sub/c_r.html"]
    assert cli(*command).code == 0
    assert index.read_bytes() == first
    (folder / "text.tif").write_text("no raster")
    assert cli(*command).code == 1
    page = Page(index)
    assert len(page.named("a")) == 2
    assert "cannot be opened" in page.text
    assert read_facts(out / "sub" / "c_r.html")["source"] == "c.tif"
