"""Provenance never says more than is true: codes, their names, styles and outputs."""

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import rasterio

import geodecloud
from geodecloud.decloud import decloud_scene
from geodecloud.errors import SceneError, UsageError
from geodecloud.masking import mask_scene
from geodecloud.raster.counts import count
from geodecloud.raster.provenance import (
    MEANINGS,
    REFERENCES,
    VISIBLE,
    Provenance,
    among,
    is_real,
    provenance_style,
)
from geodecloud.raster.rows import Rows
from geodecloud.settings import Settings
from tests.conftest import ROOT, identity, noise, read, write_scene

WHITE, SIZE = 16000, 160
CLOUD = np.zeros((SIZE, SIZE), bool)
CLOUD[40:110, 50:120] = True
CLOUD_CODES = Provenance.BEYOND_LIMIT, Provenance.CLOUD_KEPT, Provenance.CLOUD_REMOVED


def white_is_cloud(patches, dark_object):
    white = (patches[:, :1] > 0.999).astype(np.float32)
    return np.concatenate([patches, white], axis=1)


def cloudy(bands=3):
    return np.where(CLOUD, WHITE, noise((bands, SIZE, SIZE)) // 2 + 100).astype(np.uint16)


def restore(src, folder, **options):
    settings = Settings(provenance=folder / "p.tif", overwrite=True, **options)
    report = decloud_scene(src, folder / "out.tif", white_is_cloud, settings)
    return report, read(folder / "out.tif"), read(folder / "p.tif")[0]


def test_cloud_that_is_kept_has_its_own_code(tmp_path):
    dn = cloudy()
    dn[:, :10] = 0
    src = write_scene(tmp_path / "in.tif", dn, nodata=0)
    report, out, codes = restore(src, tmp_path, opaque="keep")
    np.testing.assert_array_equal(out, dn)
    np.testing.assert_array_equal(codes == Provenance.CLOUD_KEPT, CLOUD)
    assert (codes[:10] == Provenance.NODATA).all()
    assert report.changed_fraction == 0


def test_cloud_that_is_made_nodata_is_no_nodata_of_the_input(tmp_path):
    dn = cloudy(4)
    dn[:, :10] = 0
    src = write_scene(tmp_path / "in.tif", dn, nodata=0)
    report, out, codes = restore(src, tmp_path, opaque="nodata")
    np.testing.assert_array_equal(codes == Provenance.CLOUD_REMOVED, CLOUD)
    assert (codes[:10] == Provenance.NODATA).all()
    assert (out[:3, CLOUD] == 0).all()
    assert report.changed_fraction == CLOUD.sum() / (SIZE * (SIZE - 10))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NodataShadowWarning")
@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("how", ["mask", "alpha", "alpha and value", "dst_nodata"])
def test_cloud_is_made_nodata_without_a_nodata_value(tmp_path, how, beyond):
    dn = cloudy(4 if "alpha" in how else 3)
    options = {"opaque": "nodata"}
    if beyond:
        options = {"opaque": "fill", "fill_limit": 100, "beyond_limit": "nodata"}
    hidden = np.zeros((SIZE, SIZE), bool)
    if "alpha" in how:
        dn[3] = 65535
        value = 0 if "value" in how else None
        src = write_scene(tmp_path / "in.tif", dn, nodata=value, photometric="RGB", alpha="YES")
    else:
        src = write_scene(tmp_path / "in.tif", dn)
    if how == "dst_nodata":
        options["dst_nodata"] = 1
    if how == "mask":
        hidden[:10] = True
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(src, "r+") as file:
            file.write_mask(~hidden)
    _, _, codes = restore(src, tmp_path, **options)
    removed = codes == Provenance.CLOUD_REMOVED
    if beyond:
        assert removed[60:90, 70:100].all()
        assert (codes[CLOUD & ~removed] == Provenance.FILLED).all()
    else:
        np.testing.assert_array_equal(removed, CLOUD)
    with rasterio.open(tmp_path / "out.tif") as out:
        np.testing.assert_array_equal(out.dataset_mask() == 0, removed | hidden)
        for band in (1, 2, 3):
            np.testing.assert_array_equal(out.read_masks(band) == 0, removed | hidden)


def test_cloud_in_floats_may_become_nan(tmp_path):
    dn = cloudy() / np.float32(10000)
    dn[:, :10] = np.nan
    src = write_scene(tmp_path / "in.tif", dn)
    _, out, codes = restore(src, tmp_path, opaque="nodata", dst_nodata=np.nan)
    removed = codes == Provenance.CLOUD_REMOVED
    np.testing.assert_array_equal(removed, CLOUD)
    np.testing.assert_array_equal(out, np.where(removed, np.float32(np.nan), dn))
    with rasterio.open(tmp_path / "out.tif") as file:
        assert np.isnan(file.nodata)
        assert (file.dataset_mask() == 0).sum() == removed.sum() + dn[0, :10].size


def test_a_scene_without_any_nodata_needs_a_value(tmp_path):
    src = write_scene(tmp_path / "in.tif", cloudy())
    with pytest.raises(UsageError, match="give `dst_nodata`, or set `opaque` to fill or keep"):
        restore(src, tmp_path, opaque="nodata")
    with pytest.raises(UsageError, match="give `dst_nodata`, or set `beyond_limit` to keep"):
        restore(src, tmp_path, fill_limit=100, beyond_limit="nodata")


@pytest.mark.parametrize(("rows", "nodata"), [(10, None), (10, 0), (0, 0)])
def test_a_masked_array_shows_the_removed_cloud_as_masked(rows, nodata):
    from geodecloud.raster.array import ArrayInfo
    from geodecloud.restore_arrays import restore_array

    mask = np.zeros((3, SIZE, SIZE), bool)
    mask[:, :rows] = True
    settings = Settings(opaque="nodata", bands=(1, 2, 3))
    array = np.ma.MaskedArray(cloudy(), mask)
    info = ArrayInfo(nodata=nodata)
    result = restore_array(array, white_is_cloud, settings, info=info)
    np.testing.assert_array_equal(np.ma.getmaskarray(result.array), mask | CLOUD)


def test_what_was_invented_once_is_never_measured_later(tmp_path):
    src, again = write_scene(tmp_path / "in.tif", cloudy()), tmp_path / "again.tif"
    restore(src, tmp_path)
    restored = (tmp_path / "out.tif").rename(tmp_path / "first.tif")
    with pytest.raises(SceneError, match=r"first\.tif: geodecloud has restored it already"):
        restore(restored, tmp_path)
    with pytest.raises(SceneError, match=r"first\.tif: .* give a reference as measured"):
        decloud_scene(src, again, white_is_cloud, Settings(references=(restored,)))
    assert not again.exists()
    decloud_scene(restored, again, white_is_cloud, Settings(force=True))
    forced = Settings(references=(restored,), force=True, overwrite=True)
    decloud_scene(src, again, white_is_cloud, forced)
    clear = write_scene(tmp_path / "clear.tif", np.minimum(cloudy(), 2000))
    decloud_scene(clear, tmp_path / "same.tif", white_is_cloud)
    decloud_scene(tmp_path / "same.tif", tmp_path / "o.tif", white_is_cloud)  # nothing is invented


def test_every_raster_says_what_it_was_made_from_and_by(tmp_path):
    src = write_scene(tmp_path / "in.tif", cloudy())
    paths = {name: tmp_path / f"{name}.tif" for name in ("provenance", "opacity", "cloud_mask")}
    chosen = Settings(opaque_above=0.6, **paths)
    decloud_scene(src, tmp_path / "out.tif", white_is_cloud, chosen, model_name="m")
    alone = chosen.replace(cloud_mask=None)
    mask_scene(src, tmp_path / "alone.tif", white_is_cloud, alone, model_name="m")
    for path in (tmp_path / "out.tif", tmp_path / "alone.tif", *paths.values()):
        with rasterio.open(path) as file:
            tags = file.tags()
        assert (tags["GEODECLOUD_SOURCE"], tags["GEODECLOUD_MODEL"]) == ("in.tif", "m")
        assert json.loads(tags["GEODECLOUD_CONFIG"])["opaque_above"] == 0.6


@pytest.mark.parametrize("metres", [100, 200])
def test_the_fill_limit_counts_from_visible_ground(tmp_path, metres):
    src = write_scene(tmp_path / "in.tif", cloudy())
    _, out, codes = restore(src, tmp_path, fill_limit=metres)
    beyond = np.zeros((SIZE, SIZE), bool)
    edge = metres // 10  # the centres of its pixels are one more from that of a visible one
    beyond[40 + edge : 110 - edge, 50 + edge : 120 - edge] = True
    np.testing.assert_array_equal(codes == Provenance.BEYOND_LIMIT, beyond)
    assert (out[:, beyond] == WHITE).all()
    assert (codes[CLOUD & ~beyond] == Provenance.FILLED).all()


def test_real_is_ground_that_was_seen():
    codes = np.array([0, 1, 100, 101, 102, 103, 104, 105, 109, 110, 209, 210, 255], np.uint8)
    expected = [True, *[False] * 8, True, True, False, False]
    assert is_real(codes).tolist() == expected
    assert geodecloud.is_real(codes).tolist() == expected
    assert geodecloud.Provenance.is_real(codes).tolist() == expected
    assert geodecloud.Provenance is Provenance


def test_only_codes_of_ground_are_real():
    codes = [0, 1, 101, 109, 110, 209, 210, 255]
    real = [True, False, False, False, True, True, False, False]
    for dtype in (np.uint8, np.int16, np.float32, np.int64):
        assert is_real(np.array(codes, dtype)).tolist() == real
    assert not is_real(np.array([-1, -146, 256, 366])).any()
    assert not is_real(np.array([np.nan, 0.5, np.inf])).any()


def test_every_code_belongs_to_one_group():
    groups = [VISIBLE, REFERENCES, [Provenance.FILLED]]
    groups += [[code] for code in (*CLOUD_CODES, Provenance.NODATA)]
    codes = np.arange(256, dtype=np.uint8)
    found = np.array([among(codes, group) for group in groups])
    assert (found.sum(axis=0) == np.isin(codes, list(MEANINGS))).all()
    with_shape = codes.reshape(2, 8, 16)
    np.testing.assert_array_equal(among(with_shape, VISIBLE).ravel(), found[0])


def test_what_the_fractions_count():
    """Relit pixels are changed, not invented; kept cloud is not changed, removed cloud is."""
    codes = np.array([[0, 0, 5, 100, 101, 102, 103, 103], [104, 105, 110, 209, 255, 255, 101, 101]])
    codes = codes.astype(np.uint8)
    valid, dn = codes != Provenance.NODATA, np.ones((3, *codes.shape), np.uint16)
    counts = count(Rows(0, dn, valid, out=dn.copy(), provenance=codes), [0, 1, 2])
    assert counts.valid == 14
    assert counts.fractions() == pytest.approx(
        {
            "changed_fraction": 10 / 14,
            "invented_fraction": 3 / 14,
            "reference_fraction": 2 / 14,
            "shadow_fraction": 2 / 14,
        }
    )


@pytest.mark.parametrize("file_format", ["gtiff", "cog"])
def test_gdal_and_qgis_know_the_names_of_the_codes(tmp_path, file_format):
    src = write_scene(tmp_path / "in.tif", cloudy())
    restore(src, tmp_path, format=file_format)
    tree = ET.parse(tmp_path / "p.tif.aux.xml")  # noqa: S314
    names = [one.text or "" for one in tree.findall("PAMRasterBand/CategoryNames/Category")]
    assert len(names) == 256
    assert {code: name for code, name in enumerate(names) if name} == {
        code: name for code, (name, _) in MEANINGS.items()
    }
    assert (tmp_path / "p.qml").read_text("utf-8") == provenance_style()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("in.tif", "out.tif", "p.tif", "p.tif.aux.xml", "p.qml")
    }


def test_a_style_that_exists_is_the_users(tmp_path):
    src = write_scene(tmp_path / "in.tif", cloudy())
    (tmp_path / "p.qml").write_text("mine")
    restore(src, tmp_path)
    assert (tmp_path / "p.qml").read_text() == "mine"


@pytest.mark.parametrize(
    ("page", "title"),
    [("README.md", "## Read the provenance"), ("docs/outputs.md", "## Provenance")],
)
def test_the_pages_have_every_code(page, title):
    text = (ROOT / page).read_text("utf-8")
    codes = text[text.index(title) :]
    for code in Provenance:
        assert re.search(rf"\b{code.value}\b", codes[:1500]), code


def test_a_style_of_another_output_is_replaced(tmp_path):
    src, path = write_scene(tmp_path / "in.tif", noise((3, 40, 40))), tmp_path / "x.tif"
    usual, styles = Settings(scale=10000, offset=0, overwrite=True), []
    for kind in ("opacity", "provenance", "cloud_mask"):
        decloud_scene(src, tmp_path / "out.tif", identity, usual.replace(**{kind: path}))
        styles.append((tmp_path / "x.qml").read_text("utf-8"))
    assert len(set(styles)) == 3
    decloud_scene(src, tmp_path / "out.tif", identity, usual.replace(provenance=path))
    mask_scene(src, path, identity, usual)
    assert (tmp_path / "x.qml").read_text("utf-8") == styles[-1]
