"""Laws of the article's data set on disk."""

import csv
import sys

import numpy as np
import pytest
from PIL import Image

from geodecloud.data import prepare as article
from geodecloud.data.eurosat import find_eurosat
from geodecloud.data.prepare import article_noise, mix, prepare
from geodecloud.errors import DataError, GeodecloudError, OutputError
from tests.test_eurosat import eurosat, jpeg, multispectral

pytestmark = pytest.mark.needs_train


@pytest.fixture(autouse=True)
def _library():
    pytest.importorskip("noise", reason="the noise library (extra train) needs a compiler")


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("scale", [5.0, 33.3, 120.0])
def test_the_noise_is_the_librarys_from_the_origin_stretched(scale):
    from noise import pnoise2

    ours = article_noise(scale)
    assert ours.shape == (64, 64)
    assert (ours.min(), ours.max()) == (0, 1)
    raw = [pnoise2(r / scale, c / scale, 12, 0.5, 2.0) for r, c in ((0, 0), (7, 50), (63, 2))]
    picked = [ours[0, 0], ours[7, 50], ours[63, 2]]
    assert raw[0] == 0
    assert (picked[1] - picked[0]) / (picked[2] - picked[0]) == pytest.approx(raw[1] / raw[2])
    # A larger tile has the same noise, stretched otherwise.
    assert np.corrcoef(article_noise(scale, 80)[:64, :64].ravel(), ours.ravel())[0, 1] > 0.9999


def test_mixing_is_between_clear_and_noise():
    rng = np.random.default_rng(0)
    clear, grey = rng.random((3, 8, 8)), rng.random((8, 8))
    np.testing.assert_array_equal(mix(clear, grey, 0), clear)
    np.testing.assert_array_equal(mix(clear, grey, 1), np.broadcast_to(grey, (3, 8, 8)))
    np.testing.assert_allclose(mix(clear, grey, 0.25), 0.75 * clear + 0.25 * grey)


def test_the_folders_hold_all_classes_as_numbers(tmp_path):
    root, out = eurosat(tmp_path / "EuroSAT", 3), tmp_path / "deep" / "out"
    assert prepare(root, out) == 6
    assert {p.name for p in out.iterdir()} == {
        *("all_inputs", "all_targets", "tiles.csv", "preview.png")
    }
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    for name in ("all_inputs", "all_targets"):
        assert {p.name for p in (out / name).iterdir()} == {f"{i}.jpg" for i in range(1, 7)}
    with (out / "tiles.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["tile"] for row in rows] == [f.name for f in find_eurosat(root).files]
    for row in rows:
        number, scale, alpha = row["number"], float(row["scale"]), float(row["alpha"])
        target = out / "all_targets" / f"{number}.jpg"
        assert target.read_bytes() == (root / row["tile"]).read_bytes()
        assert 5 <= scale <= 120
        assert 0 <= alpha <= 1
        clear = pixels(target).transpose(2, 0, 1) / 255
        cloudy = mix(clear, article_noise(scale), alpha).transpose(1, 2, 0) * 255
        # Brightness survives the JPEG; its colours are of half the resolution.
        luma = (pixels(out / "all_inputs" / f"{number}.jpg") - cloudy) @ (0.299, 0.587, 0.114)
        assert abs(luma).mean() < 1.5
    with Image.open(out / "preview.png") as figure:
        assert figure.size == (6 * 132 - 4, 2 * 132 - 4)


def test_a_seed_is_a_data_set(tmp_path):
    root = eurosat(tmp_path / "EuroSAT", 2)
    prepare(root, tmp_path / "a", seed=1)
    prepare(root, tmp_path / "b", seed=1)
    prepare(root, tmp_path / "c", seed=2)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert {str(p) for p in a if a[p] != c[p]} == {
        *(f"all_inputs/{i}.jpg" for i in range(1, 5)),
        *("tiles.csv", "preview.png"),
    }


def test_multispectral_tiles_become_the_published_jpegs(tmp_path, shared):
    import zipfile

    prepare(shared / "eurosat_ms100", tmp_path / "out", limit=10)
    with (tmp_path / "out" / "tiles.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert len({row["tile"].split("/")[0] for row in rows}) == 10  # spread over the classes
    with (
        zipfile.ZipFile(shared / "EuroSAT_RGB.zip") as archive,
        archive.open(f"EuroSAT_RGB/{rows[4]['tile'].replace('.tif', '.jpg')}") as published,
    ):
        expected = pixels(published)
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "all_targets" / "5.jpg"), expected)


def test_nothing_is_overwritten(tmp_path):
    root = eurosat(tmp_path / "EuroSAT", 1)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("kept")
    for out in (full, full / "mine"):
        with pytest.raises(OutputError, match="exists already"):
            prepare(root, out)
    assert contents(full) == {(full / "mine").relative_to(full): b"kept"}
    (tmp_path / "empty").mkdir()
    same = (tmp_path / "empty").stat().st_ino  # it may be where a file system begins
    assert prepare(root, tmp_path / "empty") == 2
    assert (tmp_path / "empty").stat().st_ino == same
    assert not list((tmp_path / "empty").glob(".*"))


def test_what_is_interrupted_leaves_nothing(tmp_path, monkeypatch):
    root = eurosat(tmp_path / "EuroSAT", 2)
    made = []

    def interrupted(scale):
        made.append(scale)
        if len(made) == 3:
            raise KeyboardInterrupt
        return article_noise(scale)

    monkeypatch.setattr(article, "article_noise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["EuroSAT"]


def test_bad_tiles_are_named_or_left_out(tmp_path, cli):
    root = eurosat(tmp_path / "EuroSAT", 2)
    jpeg(root / "Forest" / "Forest_1.jpg", size=(60, 60))
    cli("prepare", root, tmp_path / "out")
    assert cli.code == 1
    assert "Forest_1.jpg: 60x60 pixels" in cli.err
    assert not (tmp_path / "out").exists()
    cli("prepare", root, tmp_path / "out", "--on-bad", "skip")
    assert cli.code == 0
    assert "3 tiles" in cli.out
    assert "1 bad file left out" in cli.err
    assert (tmp_path / "out" / "all_inputs" / "3.jpg").exists()
    (root / "River").rename(tmp_path / "gone")
    (root / "Forest" / "Forest_0.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="all of its 2 tiles are damaged"):
        prepare(root, tmp_path / "none", on_bad="skip")


def test_the_command_takes_seed_and_limit(tmp_path, cli):
    root = multispectral(tmp_path / "EuroSAT", 3)
    cli("prepare", root, tmp_path / "a", "--seed", 5, "--limit", 2)
    assert cli.code == 0
    assert "2 tiles" in cli.out
    prepare(root, tmp_path / "b", seed=5, limit=2)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    cli("prepare", root, tmp_path / "a")
    assert (cli.code, cli.err.count("\n")) == (1, 1)
    cli("prepare", tmp_path / "nowhere", tmp_path / "c")
    assert (cli.code, cli.err.count("\n")) == (1, 1)


def test_without_the_library_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "noise", None)
    with pytest.raises(GeodecloudError, match=r"pip install 'geodecloud\[train\]'"):
        prepare(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
