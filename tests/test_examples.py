"""The notebooks run without a warning, their figures explain themselves, and their claims hold."""

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
import rasterio

from tests.conftest import ROOT, SAMPLES
from tests.test_docs import LONGEST, sentences_of

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.py"))

each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def texts_of(notebook: Path) -> list[str]:
    """The cells of text, as Markdown."""
    _, *cells = re.split(r"^# %%(.*\n)", notebook.read_text("utf-8"), flags=re.MULTILINE)
    pairs = zip(cells[::2], cells[1::2], strict=True)
    texts = (content for kind, content in pairs if "[markdown]" in kind)
    return [re.sub(r"^# ?", "", text, flags=re.MULTILINE) for text in texts]


@each_notebook
def test_a_notebook_begins_with_a_title_and_ends_with_what_to_do_next(notebook):
    texts = texts_of(notebook)
    assert notebook.read_text("utf-8").startswith("# %% [markdown]\n# # ")
    _, end = texts[-1].split("## What to do next\n")
    assert end.count("\n- ") >= 2


@each_notebook
def test_the_sentences_of_a_notebook_are_short(notebook):
    for text in texts_of(notebook):
        for sentence in sentences_of(text):
            assert len(sentence.split()) <= LONGEST, sentence


@each_notebook
def test_the_links_of_a_notebook_lead_to_files(notebook):
    for target in re.findall(r"\]\((?!https:)([^)#]+)", "\n".join(texts_of(notebook))):
        assert (EXAMPLES / target).is_file(), target


@each_notebook
def test_a_notebook_is_listed_on_its_page_under_its_title(notebook):
    title = texts_of(notebook)[0].splitlines()[0].removeprefix("# ")
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")
    assert f"| [{title}](../examples/{notebook.name}) |" in page


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a notebook from top to bottom, and return its variables.

    Each figure must have a title on each panel; what a colour means stands in a legend or a bar.
    """
    import matplotlib.pyplot as plt

    def check(*_: object) -> None:
        figure = plt.gcf()
        panels = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
        assert all(axis.get_title() for axis in panels)
        figure.canvas.draw()
        plt.close(figure)
        shown.append(figure)

    shown: list[object] = []
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("results"))
    (folder / "sample_data").symlink_to(SAMPLES)
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", check)
    monkeypatch.chdir(folder / "examples")
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the command line that a notebook runs
    found = runpy.run_path(name, run_name="__main__")
    assert shown
    return found


@pytest.mark.slow
def test_the_first_scene_keeps_its_promise(tmp_path, monkeypatch):
    found = run("first_scene.py", tmp_path, monkeypatch)
    assert found["measured"].any()
    assert (found["same"] | ~found["measured"]).all()


@pytest.mark.slow
def test_the_ndvi_of_invented_pixels_says_nothing(tmp_path, monkeypatch):
    found = run("ndvi.py", tmp_path, monkeypatch)
    correlation = {kind: score[-1] for kind, score in found["scores"].items()}
    assert correlation["measured"] > 0.99
    assert correlation["restored"] > 0.8
    assert correlation["filled"] < 0.4


@pytest.mark.slow
def test_a_stac_item_becomes_a_stac_item(tmp_path, monkeypatch):
    found = run("stac_item.py", tmp_path, monkeypatch)
    assert [item.id for item in found["items"]] == ["S2_20200615_CLOUDY", "S2_20200702_CLEAR"]
    assert {"data", "provenance"} <= found["result"].assets.keys()
    assert found["report"].width < 389  # a part of the scene
    with rasterio.open("results/from_stac.tif") as raster:
        assert raster.descriptions == ("red", "green", "blue", "B08")
        assert "secret" not in str(raster.tags())
    assert "secret" not in Path("results/from_stac.json").read_text("utf-8")
    (source,) = found["result"].get_links("derived_from")
    assert source.href == found["bands"][0].partition("?")[0]


@pytest.mark.slow
def test_a_tuned_model_is_judged(tmp_path, monkeypatch):
    found = run("tune.py", tmp_path, monkeypatch)
    (before, _), (tuned, _) = found["scores"]["before"], found["scores"]["tuned"]
    assert tuned != before
    assert tuned < 1.2 * before
    assert "# So few steps change little" in (EXAMPLES / "tune.py").read_text("utf-8")


@pytest.mark.slow
def test_change_is_found_where_both_dates_show_ground(tmp_path, monkeypatch):
    found = run("second_date.py", tmp_path, monkeypatch)
    alone, real, with_july = found["alarms"].values()
    assert real < 0.002 < with_july < alone
    in_view, thin, opaque = found["found"]["Restored alone, real pixels"]
    assert in_view > 0.9
    assert (thin, opaque) == (0, 0)
    assert found["found"]["With July, all pixels"][2] < 0.05
