"""Bands besides red, green and blue are restored by their thin cloud, and never change them."""

import re
import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

import geodecloud
from geodecloud.cli.dry_run import describe_run
from geodecloud.decloud import decloud_scene
from geodecloud.errors import UsageError
from geodecloud.radiometry import Radiometry
from geodecloud.raster.scene import open_scene
from geodecloud.raster.wavelengths import OtherBand, find_other_bands, wavelength_of
from geodecloud.restore.composite import fringe_weight
from geodecloud.restore.depth_ratio import BLOCK, SampledCells, fit_ratios
from geodecloud.restore.other_bands import COLOUR_WAVELENGTHS, USUAL, OtherBands, fit_exponent
from geodecloud.settings import ModelSpec, Policy, Settings
from tests.conftest import noise, read, write_scene

SIZE, NIR, SWIR = 192, 842.0, 1610.0
NAMES = ("B04", "B03", "B02", "B08", "SCL", "B11")


def under_cloud(ground, depth, wavelength, exponent):
    """Reflectance of ground under cloud that reflects some light and absorbs none."""
    x = depth * (wavelength / COLOUR_WAVELENGTHS[0]) ** -exponent
    reflected = x / (1 + x)
    return reflected + (1 - reflected) ** 2 * ground / (1 - reflected * ground)


def scene_of(exponent, seed=0):
    """Reflectance of ground and of the same under cloud, (6, SIZE, SIZE), and the cloud's depth."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    kinds = rng.integers(0, 4, (12, 12)).repeat(16, axis=0).repeat(16, axis=1)
    spectra = np.array(
        [[4, 7, 5, 30, 0, 16], [11, 10, 8, 24, 0, 28], [8, 8, 8, 18, 0, 20], [3, 5, 7, 2, 0, 1]]
    )
    ground = spectra[kinds].transpose(2, 0, 1) / 100 * (1 + 0.1 * rng.standard_normal((SIZE, SIZE)))
    depth = 0.25 * np.clip(np.sin(7 * rows) * np.cos(5 * columns), 0, 1) ** 0.5
    depth[depth < 0.02] = 0
    seen = ground.copy()
    for band, wavelength in enumerate((*COLOUR_WAVELENGTHS, NIR, None, SWIR)):
        if wavelength:
            seen[band] = under_cloud(ground[band], depth, wavelength, exponent)
    ground[4] = seen[4] = kinds / 1000
    return ground, seen, depth


def lights(ground, seen):
    """The same in model range."""
    light = [reflectance / np.float32(0.275) for reflectance in (seen, ground)]
    return [part.astype(np.float32) for part in light]


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.5, 2.2])
def test_cloud_of_known_exponent_is_undone(exponent):
    ground, seen, depth = scene_of(exponent)
    seen_light, ground_light = lights(ground, seen)
    cells = [(seen_light[:3], ground_light[:3], (depth > 0).astype(np.float32))]
    fitted = fit_exponent(iter(cells))
    assert fitted == pytest.approx(exponent, abs=0.05)
    others = OtherBands((OtherBand(3, NIR), OtherBand(5, SWIR)), Radiometry(), fitted)
    found = others.grounds(seen_light[[3, 5]], seen_light[:3], ground_light[:3])
    worst = np.abs(found - ground_light[[3, 5]]).max()
    assert worst < 0.05 * np.abs(seen_light[[3, 5]] - ground_light[[3, 5]]).max() + 1e-4


def sampled_cells(light):
    """All cells of bands 3 and 5, as the coarse pass keeps them."""
    cells = SampledCells.empty(2, *light.shape[1:])
    cells.light[:] = light[[3, 5]]
    return cells


@pytest.mark.parametrize("true", [0.4, 1.0])
def test_the_scene_itself_shows_the_depth_of_its_cloud_where_angstroms_law_errs(true):
    ground, seen, depth = scene_of(2.0)
    for band in (3, 5):
        x = true * depth
        reflected = x / (1 + x)
        seen[band] = reflected + (1 - reflected) ** 2 * ground[band] / (
            1 - reflected * ground[band]
        )
    seen_light, ground_light = lights(ground, seen)
    answer = np.zeros((5, SIZE, SIZE), np.float32)
    answer[:3] = ground_light[:3] - seen_light[:3]
    others = OtherBands((OtherBand(3, NIR), OtherBand(5, SWIR)), exponent=2.0)
    found = fit_ratios(others, sampled_cells(seen_light), seen_light[:3], answer)
    for ratio, law in zip(found, others.law, strict=True):
        assert abs(ratio - true) < max(0.8 * abs(law - true), 0.05)
    cells = sampled_cells(seen_light)
    assert fit_ratios(others, cells, seen_light[:3], 0 * answer) == others.law  # no cloud
    cells.light[:] = np.nan
    assert fit_ratios(others, cells, seen_light[:3], answer) == others.law


def test_only_fringes_below_opaque_keep_light_of_their_own_and_no_more_than_half():
    opacity = np.linspace(0, 1, 101, dtype=np.float32)[None]
    kept = fringe_weight(opacity, Policy(opaque_above=0.6))[0]
    assert (kept[60:] == 0).all()
    np.testing.assert_allclose(kept[:50], 0.5)
    assert (np.diff(kept) <= 0).all()


@given(st.integers(1, 400), st.integers(1, 400), st.lists(st.integers(1, 60), min_size=1))
def test_sampled_rows_do_not_depend_on_how_they_are_read(height, width, heights):
    cells = SampledCells.empty(1, height, width)
    cells = SampledCells(cells.light, 1 + height % 3)
    numbers = np.arange(height, dtype=np.float32)[None, :, None] + np.zeros((1, 1, 2), np.float32)
    light = np.full((1, -(-height // (BLOCK * cells.step)) * BLOCK, 2), np.nan, np.float32)
    first = 0
    while first < height:
        last = min(first + heights[first % len(heights)], height)
        for rows, start in cells.runs(first, last):
            light[:, start : start + rows.stop - rows.start] = numbers[:, rows]
        first = last
    whole = cells.of(numbers)
    np.testing.assert_array_equal(light[:, : whole.shape[1]], whole)
    assert np.isnan(light[:, whole.shape[1] :]).all()


def test_without_cloud_the_exponent_is_the_usual_one():
    light = np.full((3, 20, 20), 0.3, np.float32)
    assert fit_exponent(iter([(light, light, light[0] * 0)])) == USUAL
    hint = (light * 1.001, light, light[0])  # far too little to tell
    assert fit_exponent(iter([hint])) == USUAL


@given(st.integers(0, 2**32 - 1), st.sampled_from(["uint16", "float32", "uint8"]))
def test_where_the_colours_stay_the_other_bands_stay_bit_for_bit(seed, dtype):
    dn = noise((5, 6, 7), dtype, seed)
    after = dn[:3].copy()
    rng = np.random.default_rng(seed)
    changed = rng.random((6, 7)) < 0.3
    after[:, changed] = after[:, changed] // 2 if dtype != "float32" else after[:, changed] / 2
    changed = (after != dn[:3]).any(axis=0)
    radiometry = Radiometry(1.0 if dtype == "float32" else 10000.0)
    others = OtherBands((OtherBand(3, NIR), OtherBand(4, SWIR)), radiometry, nodata=0)
    out = others.restore(dn, (dn[:3], after), np.zeros((6, 7), bool))
    np.testing.assert_array_equal(out[:, ~changed], dn[3:][:, ~changed])
    assert (
        out[:, changed] <= dn[3:][:, changed]
    ).all()  # light is taken, and no more than there is
    assert (out[:, changed] > 0).all() or dtype != "float32"


def test_noise_grows_fourfold_at_most():
    seen, restored = np.full((3, 1000), 3.0, np.float32), np.full((3, 1000), 0.3, np.float32)
    others = OtherBands((OtherBand(3, NIR),))
    light = (2.5 + 0.01 * np.random.default_rng(0).standard_normal((1, 1000))).astype(np.float32)
    found = others.grounds(light, seen, restored)
    assert found.std() < 4 * light.std()
    assert (found > 0).all()


def test_a_relit_shadow_is_relit_in_all_bands_most_where_the_sky_is_dark():
    restored = np.full((3, 4), 0.4, np.float32)
    share = np.array([0.15, 0.15 * (560 / 665) ** -2, 0.15 * (492 / 665) ** -2])[:, None]
    seen = (restored * (share + (1 - share) * 0.5)).astype(np.float32)
    others = OtherBands((OtherBand(3, 443), OtherBand(4, NIR), OtherBand(5, SWIR)))
    light = np.full((3, 4), 0.2, np.float32)
    blue, nir, swir = others.relit(light, seen, restored)[:, 0]
    assert 0.2 < blue < nir < swir < 0.41
    none = others.relit(light, restored, restored)
    np.testing.assert_allclose(none, light, rtol=1e-6)


# --- the whole way ---


def cloud_network(patches, dark_object):
    """A network that takes 0.2 of light where it is above 0.5, and calls white opaque."""
    light = patches[:, :3]
    cloud = (light.mean(axis=1, keepdims=True) > 0.5) & (light.mean(axis=1, keepdims=True) < 0.99)
    white = light.min(axis=1, keepdims=True) > 0.99
    return np.concatenate([light - 0.2 * cloud, 0.3 * cloud + 1.0 * white], axis=1).astype(
        np.float32
    )


@pytest.fixture
def cloudy(tmp_path):
    """A scene of six bands under a thin and a thick cloud."""
    dn = (scene_of(1.0)[0] * 8000 + 300).astype(np.uint16)
    dn[4] = noise((1, SIZE, SIZE))[0] % 12
    dn[:4, 30:80, 40:110] += 900
    dn[5, 30:80, 40:110] += 500
    dn[:4, 100:150, 60:120] = 9000
    dn[5, 100:150, 60:120] = 5000
    dn[:, :, :9] = 0
    return named(
        write_scene(tmp_path / "in.tif", dn, nodata=0, tiled=True, blockxsize=64, blockysize=32)
    )


def named(path, names=NAMES):
    with rasterio.open(path, "r+") as out:
        out.descriptions = names
    return path


def restore(src, name, **options):
    """All bands, and provenance."""
    paths = src.parent / f"{name}.tif", src.parent / f"{name}_p.tif"
    decloud_scene(
        src, paths[0], cloud_network, Settings(provenance=paths[1], overwrite=True, **options)
    )
    return read(paths[0]), read(paths[1])[0]


def test_other_bands_are_restored_and_filled_and_a_classification_is_kept(cloudy):
    before, (out, codes) = read(cloudy), restore(cloudy, "out")
    np.testing.assert_array_equal(out[4], before[4])
    clear = (codes == 0) | (codes == 255)
    np.testing.assert_array_equal(out[:, clear], before[:, clear])
    thin, filled = (codes > 0) & (codes <= 100), codes == 101
    assert thin.sum() > 1000
    assert filled.sum() > 1000
    for band in (3, 5):
        assert (out[band][thin] < before[band][thin]).mean() > 0.9
        inside = np.s_[band, 105:145, 65:115]
        assert out[inside].max() < before[inside].min()
        # Spectra are those of land: near infrared as far from red as on the visible land.
        land = clear & (codes == 0)
        usual = np.median(before[band][land] / before[0][land].astype(float))
        assert np.median(out[band][filled] / out[0][filled]) == pytest.approx(usual, rel=0.4)


def test_red_green_and_blue_do_not_depend_on_the_other_bands(cloudy):
    alone = write_scene(cloudy.parent / "rgb.tif", read(cloudy)[:3], nodata=0)
    expected = restore(named(alone, NAMES[:3]), "alone")
    for treatment in ("restore", "keep", "nodata"):
        out, codes = restore(cloudy, treatment, other_bands=treatment)
        np.testing.assert_array_equal(out[:3], expected[0])
        np.testing.assert_array_equal(codes, expected[1])
        changed = (out[3] != read(cloudy)[3]) & (codes != 255)
        assert bool(changed.any()) == (treatment != "keep")
    changed = (codes > 0) & (codes < 255)
    assert (out[3][changed] == 0).all()
    assert (out[4] == read(cloudy)[4]).all()
    kept, codes = restore(cloudy, "kept", other_bands="nodata", opaque="keep")
    opaque = codes == 104
    assert opaque.any()
    np.testing.assert_array_equal(kept[:, opaque], read(cloudy)[:, opaque])


def test_where_red_has_no_data_other_bands_stay(cloudy):
    dn = read(cloudy).astype(np.float32) / 10000
    dn[:3, 35:60, 50:60] = np.nan
    src = named(write_scene(cloudy.parent / "floats.tif", dn, nodata=np.nan))
    for treatment in ("restore", "nodata"):
        out, _ = restore(src, "out", scale=1, other_bands=treatment)
        np.testing.assert_array_equal(out[3:, 35:60, 50:60], dn[3:, 35:60, 50:60])


@pytest.mark.parametrize(
    "options", [{"threads": 1, "batch_size": 2}, {"max_memory": "600MiB"}, {"fill_limit": 5000.0}]
)
def test_the_result_does_not_depend_on_how_the_work_is_divided(cloudy, options):
    expected = restore(cloudy, "out")
    found = restore(cloudy, "other", **options)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_reference_fills_the_other_bands_too(cloudy):
    ground = (scene_of(1.0)[0] * 8000 + 300).astype(np.uint16)
    reference = named(write_scene(cloudy.parent / "may.tif", ground, nodata=0))
    out, codes = restore(cloudy, "out", references=(reference,))
    shown = codes == 110
    assert shown.sum() > 1000
    for band in (0, 3, 5):
        error = np.abs(out[band][shown].astype(float) - ground[band][shown])
        assert np.median(error) < 60
    colours = named(write_scene(cloudy.parent / "rgb.tif", ground[:3], nodata=0), NAMES[:3])
    with pytest.warns(geodecloud.BandsWarning, match="lacks some of"):
        less, marks = restore(cloudy, "less", references=(colours,))
    np.testing.assert_array_equal(less[:3], out[:3])
    assert (marks[shown] == 101).all()  # near infrared is invented there
    both, marks = restore(cloudy, "both", references=(colours, reference))
    np.testing.assert_array_equal(both, out)  # the second has all bands
    assert (marks[shown] == 111).all()
    for treatment in ("keep", "nodata"):
        _, marks = restore(cloudy, "less", references=(colours,), other_bands=treatment)
        assert (marks[shown] == 110).all()


@pytest.mark.parametrize("nodata", [np.nan, np.finfo(np.float32).min, np.inf])
def test_a_hole_in_another_band_stays_a_hole(cloudy, nodata):
    dn = read(cloudy).astype(np.float32) / 10_000
    dn[:, :, :9] = nodata
    dn[3, 40:60, 50:60] = nodata
    dn[3, 110:120, 70:80] = nodata
    src = named(write_scene(cloudy.parent / "floats.tif", dn, nodata=nodata))
    out, _ = restore(src, "out", scale=1)
    np.testing.assert_array_equal(_is(out, nodata), _is(dn, nodata))


def test_a_reference_is_used_only_where_it_has_all_bands(cloudy):
    ground = (scene_of(1.0)[0] * 8000 + 300).astype(np.float32)
    ground[3, 110:120, 70:80] = np.nan
    ground[5, 130:140, 70:80] = 0
    reference = named(write_scene(cloudy.parent / "may.tif", ground, nodata=0))
    out, codes = restore(cloudy, "out", references=(reference,))
    shown = codes == 110
    assert shown.sum() > 1000
    assert (codes[110:120, 70:80] == 101).all()
    assert (codes[130:140, 70:80] == 101).all()
    for band in (3, 5):
        error = np.abs(out[band][shown].astype(float) - ground[band][shown])
        assert np.median(error) < 60


def test_a_hole_of_the_scene_does_not_spoil_the_match_of_a_reference(cloudy):
    ground = (scene_of(1.0)[0] * 8000 + 300).astype(np.float32)
    reference = named(write_scene(cloudy.parent / "may.tif", ground, nodata=0))
    dn = read(cloudy).astype(np.float32)
    dn[3, 160:180, 20:60] = np.nan
    torn = named(write_scene(cloudy.parent / "torn.tif", dn, nodata=0))
    out, codes = restore(torn, "out", references=(reference,), scale=10_000)
    shown = codes == 110
    assert shown.sum() > 1000
    assert np.median(np.abs(out[3][shown] - ground[3][shown])) < 60


@pytest.mark.parametrize("hole", [np.nan, 0])
def test_the_fill_of_another_band_takes_no_colour_from_its_holes(cloudy, hole):
    dn = read(cloudy).astype(np.float32)
    whole = named(write_scene(cloudy.parent / "whole.tif", dn, nodata=0))
    expected, codes = restore(whole, "whole_out", scale=10_000)
    dn[3, :, 100:] = hole
    torn = named(write_scene(cloudy.parent / "torn.tif", dn, nodata=0))
    found, _ = restore(torn, "torn_out", scale=10_000)
    filled = codes == 101
    filled[:, 100:] = False
    assert filled.sum() > 1000
    assert found[3][filled].mean() > 0.9 * expected[3][filled].mean()
    np.testing.assert_array_equal(found[[0, 1, 2, 5]], expected[[0, 1, 2, 5]])


@pytest.mark.parametrize("beyond", ["keep", "nodata"])
def test_cloud_beyond_the_limit_is_treated_alike_in_all_bands(cloudy, beyond):
    before, kept = read(cloudy), {"keep": 102, "nodata": 105}[beyond]
    rule = {"fill_limit": 100, "beyond_limit": beyond, "other_bands": "nodata"}
    out, codes = restore(cloudy, "out", **rule)
    left = codes == kept
    assert left.sum() > 100
    restored = [0, 1, 2, 3, 5]
    expected = before[restored][:, left] if beyond == "keep" else 0
    np.testing.assert_array_equal(out[restored][:, left], expected)


def _is(values, nodata):
    return np.isnan(values) if np.isnan(nodata) else values == nodata


@pytest.mark.parametrize(
    ("names", "file", "expected"),
    [
        (("B02", "B03", "B04", "B08"), "x.tif", {3: 833}),
        (("B4", "B3", "B2", "B8"), "S2_L2A.tif", {3: 833}),
        (("B4", "B3", "B2", "B5"), "x.tif", {}),  # 705 nm of Sentinel-2, 865 nm of Landsat
        (("SR_B4", "SR_B3", "SR_B2", "SR_B5", "SR_B6", "QA_PIXEL"), "x.tif", {3: 865, 4: 1609}),
        (("B4", "B3", "B2", "B5", "B9", "B10"), "LC08_L1TP.tif", {3: 865}),
        (("B04", "B03", "B02", "B05"), "HLS.L30.T18.tif", {3: 865}),
        (("blue", "green", "red", "nir"), "x.tif", {3: 842}),
        (("B2", "B3", "B4", "B8"), "x.tif", {3: 833}),
        (("B2", "B3", "B4", "B8", "B11"), "x.tif", {3: 833, 4: 1614}),
        (("B02_median", "B03_median", "B04_median", "B08_median"), "x.tif", {3: 833}),
        (("T18SVG_B02", "T18SVG_B03", "T18SVG_B04", "T18SVG_B08"), "x.tif", {3: 833}),
        (("S2_B02_10m", "S2_B03_10m", "S2_B04_10m", "S2_B08_10m"), "x.tif", {3: 833}),
        (("S2A_B2", "S2A_B3", "S2A_B4", "S2A_B8"), "x.tif", {3: 833}),
        (("blue_p50", "green_p50", "red_p50", "nir_p50"), "x.tif", {3: 842}),
        (("0_B2", "0_B3", "0_B4", "0_B8"), "x.tif", {3: 833}),
        (("b", "g", "r", "n"), "x.tif", {3: 842}),
        (("red", "green", "blue", "AOT, aerosol optical thickness (at 550nm)"), "x.tif", {}),
        (("red", "green", "blue", "Near Infrared (NIR)", "NIR_BROAD"), "x.tif", {3: 842, 4: 842}),
        (("rhos_665", "rhos_560", "rhos_492", "rhos_833"), "x.tif", {3: 833}),
        (("B1", "B2", "B3", "B4", "B5"), "COPERNICUS_S2_SR_2020.tif", {0: 443, 4: 704}),
        (("B1", "B2", "B3", "B4", "B5", "B7"), "x.tif", {3: 840, 4: 1676, 5: 2223}),
        (
            ("red", "green", "blue", "rededge1", "nir08", "swir16", "scl"),
            "x.tif",
            {3: 704, 4: 865, 5: 1610},
        ),
        (("Red", "Green", "Blue", "Red Edge", "NIR", "cirrus"), "x.tif", {3: 705, 4: 842}),
        (("B4", "B3", "B2", "B8A, central wavelength 865 nm", "B10, 1375 nm"), "x.tif", {3: 865}),
        (("B3", "B2", "B1", "B4", "B5", "B7"), "LT05_L1.tif", {3: 840, 4: 1676, 5: 2223}),
        (("red", "green", "blue", "ndvi", "view_zenith", "cloud"), "x.tif", {}),
    ],
)
def test_wavelengths_are_known_by_the_names_of_bands(tmp_path, names, file, expected):
    path = named(write_scene(tmp_path / file, noise((len(names), 20, 20))), names)
    with open_scene(path) as scene:
        found = find_other_bands(scene)
    assert {one.index: one.wavelength for one in found} == expected


def test_wavelengths_may_be_given(tmp_path):
    path = named(
        write_scene(tmp_path / "x.tif", noise((6, 20, 20))),
        ("red", "green", "blue", None, None, None),
    )
    with open_scene(path) as scene:
        found = find_other_bands(scene, (842, 0, 1610))
        assert [(one.index, one.wavelength) for one in found] == [(3, 842), (5, 1610)]
        for wrong, message in (
            ((842,), "give 3, one for each band"),
            ((842, 0, 1375), "1375"),
            ((9e4, 0, 0), "90000"),
        ):
            with pytest.raises(UsageError, match=message):
                find_other_bands(scene, wrong)
    assert Settings(wavelengths="842, 0,1610").reading.wavelengths == (842, 0, 1610)


def test_a_band_of_another_scale_is_not_understood(tmp_path):
    path = named(
        write_scene(tmp_path / "x.tif", noise((4, 20, 20))), ("red", "green", "blue", "nir")
    )
    with rasterio.open(path, "r+") as out:
        out.scales = (1, 1, 1, 0.1)
    with open_scene(path) as scene:
        assert find_other_bands(scene) == ()


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (("red", "green", "blue", None), "band 4 will"),
        (
            ("red", "green", "blue", "b5", "SCL", "B8_count", "sunAzimuth", "x"),
            r"bands 4 \(b5\), 8",
        ),
        (("red", "green", "blue", "nir", "band at 1375 nm", "QA60"), None),
        (("red", "green", "blue", "lwir11", "SZA", "B10", "TCI_R"), None),
    ],
)
def test_bands_that_keep_their_cloud_are_named(cloudy, names, kept):
    dn = noise((len(names), 64, 64)) // 8 + 500
    path = named(write_scene(cloudy.parent / "x.tif", dn), names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        restore(path, "out", scale=10_000, offset=0)
        restore(path, "kept", scale=10_000, offset=0, other_bands="keep")
    found = [
        str(one.message) for one in caught if issubclass(one.category, geodecloud.BandsWarning)
    ]
    assert len(found) == bool(kept)
    assert all(re.search(kept, message) for message in found)


@pytest.mark.parametrize("options", [{}, {"wavelengths": (842, 0, 1610)}])
def test_a_band_of_another_scale_keeps_its_cloud_with_a_warning(cloudy, options):
    before = read(cloudy)
    with rasterio.open(cloudy, "r+") as file:
        file.scales, file.offsets = (1e-4,) * 6, (0, 0, 0, -0.1, 0, 0)
    with pytest.warns(geodecloud.BandsWarning, match=r"band 4 \(B08\) will keep all cloud"):
        out, _ = restore(cloudy, "out", **options)
    np.testing.assert_array_equal(out[3], before[3])
    assert (out[5] != before[5]).any()


def test_nodata_needs_a_value(tmp_path):
    path = named(
        write_scene(tmp_path / "x.tif", noise((4, 64, 64))), ("red", "green", "blue", "nir")
    )
    with pytest.raises(UsageError, match="`dst_nodata`"):
        decloud_scene(path, tmp_path / "out.tif", cloud_network, Settings(other_bands="nodata"))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(np.ones((64, 64), bool))
    with pytest.raises(UsageError, match="no nodata value: set `other_bands` to restore or keep"):
        decloud_scene(path, tmp_path / "out.tif", cloud_network, Settings(other_bands="nodata"))


def test_a_nodata_value_may_be_given_to_bands_that_are_made_nodata(cloudy):
    """A value that a scene declares, and the same given to one that does not, give one result."""
    dn = read(cloudy)[:4, :, 9:]
    expected = restore(
        named(write_scene(cloudy.parent / "declared.tif", dn, nodata=0), NAMES[:4]),
        "expected",
        other_bands="nodata",
    )
    scene = named(write_scene(cloudy.parent / "undeclared.tif", dn), NAMES[:4])
    given = restore(scene, "given", other_bands="nodata", dst_nodata=0)
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (given[0][3] == 0).any()
    with pytest.raises(UsageError, match="have this value"):
        restore(scene, "measured", other_bands="nodata", dst_nodata=float(dn[3, 0, 0]))


@pytest.mark.parametrize(
    "name", ["", "SCL", "QA60", "B8_count", "sunAzimuth", "probability", "mean"]
)
def test_what_is_no_band_of_the_ground_has_no_wavelength(name):
    assert wavelength_of(name, {"8": 833.0}) is None


def test_an_array_has_wavelengths_by_argument(cloudy, tiny_model):
    array = read(cloudy)
    options = {"nodata": 0, "scale": 10000, "model": tiny_model}
    kept = geodecloud.decloud_array(array, **options).array
    restored = geodecloud.decloud_array(array, wavelengths=(842, 0, 1610), **options).array
    np.testing.assert_array_equal(restored[:3], kept[:3])
    np.testing.assert_array_equal(kept[3:], array[3:])
    np.testing.assert_array_equal(restored[4], array[4])
    assert (restored[3] != array[3]).any()


def test_cloud_that_is_made_nodata_is_nodata_in_the_restored_bands(cloudy):
    before, (out, codes) = read(cloudy), restore(cloudy, "out", opaque="nodata")
    removed = codes == 105
    assert removed.any()
    assert (out[[0, 1, 2, 3, 5]][:, removed] == 0).all()
    np.testing.assert_array_equal(out[4], before[4])


def test_a_dry_run_counts_no_memory_for_bands_that_stay(cloudy):
    def mebibytes(treatment):
        chosen = Settings(other_bands=treatment)
        facts = describe_run(str(cloudy), cloudy.parent / "out.tif", chosen, ModelSpec())
        return facts["memory_mib"]

    assert mebibytes("keep") < mebibytes("restore")
