"""The pages are complete, their links lead somewhere, and their sentences are short."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import geodecloud
from docs.hooks.command_line import command_line
from docs.hooks.python_api import docstring, python_api
from geodecloud.cli.options import option_fields
from geodecloud.radiometry import L1C_TCI_SCALE, L2A_TCI_SCALE, PICTURE_SCALE, SCALE
from geodecloud.raster import products
from geodecloud.restore.classify import SHADOW_ABOVE, THIN_ABOVE
from geodecloud.settings import Policy, Windows
from geodecloud.settings.option import flags_of, option_of
from tests.conftest import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
# The page of results is generated.
WRITTEN = sorted({README, ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md")} - {DOCS / "results.md"})
LONGEST = 30  # words of a sentence
# Pages that the site takes from elsewhere.
FROM_ELSEWHERE = {"contributing.md", "changelog.md", "model-card.md", "preview.png", "icon.svg"}
NOTEBOOKS = {f"examples/{script.stem}.md" for script in (ROOT / "examples").glob("*.py")}

page_by_page = pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.stem)


def sentences_of(text: str) -> list[str]:
    """The sentences of a page, without code, tables, titles and comments."""
    text = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^(?:    |#|\|).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", text)
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", text))
    return [one for part in paragraphs for one in re.split(r"(?<=[.?!])[*_]* (?=\S)", part) if one]


@page_by_page
def test_no_sentence_is_long(page):
    for sentence in sentences_of(page.read_text("utf-8")):
        assert len(sentence.split()) <= LONGEST, sentence


def test_long_sentences_are_found():
    long = " ".join(["word"] * (LONGEST + 1))
    found = sentences_of(f"# Title\n\nShort. {long}.\n\n- {long}\n\n    {long}\n")
    assert [len(one.split()) for one in found] == [1, LONGEST + 1, LONGEST + 1]


def test_every_picture_is_made_by_one_command():
    tracked = {*DOCS.glob("*.png"), *(ROOT / "sample_data").glob("*.png")}
    made = (ROOT / "benchmarks" / "pictures.py").read_text("utf-8").split('"""')[1]
    assert {one.relative_to(ROOT).as_posix() for one in tracked} == {
        *re.findall(r"(?:docs|sample_data)/\w+\.png", made)
    }


@page_by_page
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if not re.match(r"https?:", target):
            assert (page.parent / target).exists(), target


def test_the_readme_is_short():
    assert len(README.read_text("utf-8").splitlines()) <= 120


def test_the_figures_of_the_readme_are_printed_by_a_command():
    table = README.read_text("utf-8").partition("<!-- results begin -->")[2]
    figures = re.findall(r"\d+\.\d\d", table.partition("<!-- results end -->")[0])
    printed = re.findall(r"\d+\.\d\d", (DOCS / "results.md").read_text("utf-8"))
    assert figures
    assert set(figures) <= set(printed)


def test_the_line_of_the_readme_masks_by_provenance():
    (line,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    given = {"np": np, "geodecloud": geodecloud}
    given |= {"band": np.full(4, 700), "provenance": np.array([0, 50, 101, 110], np.uint8)}
    exec(line, given)  # noqa: S102
    assert np.isnan(given["band"]).tolist() == [False, True, True, False]


def test_every_page_stands_in_the_menu():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    listed = {page for part in site["nav"] for page in _pages(part)}
    elsewhere = {name for name in FROM_ELSEWHERE if name.endswith(".md")}
    assert listed == {page.name for page in DOCS.glob("*.md")} | elsewhere | NOTEBOOKS


def _pages(part: object) -> list[str]:
    if isinstance(part, str):
        return [part]
    parts = part.values() if isinstance(part, dict) else part
    return [page for one in parts for page in _pages(one)]


def test_the_command_line_page_has_every_command_and_option():
    page = command_line()
    for _, field in option_fields():
        for flag in flags_of(field.name, option_of(field)):
            assert re.search(rf"{flag}\b", page), flag
    commands = "remove mask batch info simulate evaluate train cloud-fields prepare qgis"
    for command in commands.split():
        assert f"## geodecloud {command}\n" in page


def test_the_page_of_data_has_the_numbers_of_the_program():
    page = (DOCS / "data.md").read_text("utf-8")
    for scale, offset in (
        (products.LANDSAT_2_SCALE, products.LANDSAT_2_OFFSET),
        (products.LANDSAT_1_SCALE, products.LANDSAT_1_OFFSET),
        (SCALE, 0),
    ):
        assert f"--scale {scale:.8g} --offset {offset:.8g}" in page
    for white in (255 / PICTURE_SCALE, 254 / L2A_TCI_SCALE, 255 / L1C_TCI_SCALE):
        assert f"{white:.4g}" in page


def test_the_pages_have_the_limits_of_opacity_of_the_program():
    policy = Policy()
    limits = [policy.clear_below, policy.restored_above, policy.opaque_above]
    way = (DOCS / "how-it-works.md").read_text("utf-8")
    outputs = (DOCS / "outputs.md").read_text("utf-8")
    for limit in limits:
        assert re.search(rf"(?<![\d.]){limit:g}(?![\d.]\d)", way), limit
        assert re.search(rf"(?<![\d.]){limit:g}(?![\d.]\d)", outputs), limit
    assert f"thin cloud: opacity of at least {THIN_ABOVE:g}" in outputs
    assert f"cloud shadow: depth of at least {SHADOW_ABOVE:g}" in outputs
    assert f"Windows overlap by {Windows().overlap} pixels" in way


def test_the_python_page_has_every_name_of_the_package():
    page = python_api()
    for name in geodecloud.__all__:
        if name != "__version__":
            assert f"#### geodecloud.{name}\n" in page, name
    assert ":class:" not in page
    for name in ("changed_fraction", "invented_fraction"):
        assert f"`{name}`" in page


def test_a_docstring_becomes_lists():
    text = "Do it.\n\nArgs:\n    a: one,\n        two.\n    b: three.\n\nReturns:\n    A :mod:`c`."
    assert docstring(text) == (
        "Do it.\n\n**Arguments**\n\n- `a`: one, two.\n- `b`: three.\n\n**Returns**\n\nA `c`."
    )


def test_the_hooks_are_no_page_of_the_site():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    assert site["exclude_docs"] == "hooks/"
    assert Path(ROOT / site["hooks"][0]).is_file()
