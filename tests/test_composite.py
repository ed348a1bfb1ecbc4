"""Laws of the composite: clear is copied, no change is none, nodata is never made by chance."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geodecloud.errors import UsageError
from geodecloud.radiometry import (
    HAZE_GREY,
    L1C_DARK_OBJECT,
    PATH_RADIANCE,
    Radiometry,
    eurosat_to_model,
    guess_radiometry,
    measure_path_radiance_removed,
    model_to_eurosat,
    uniform_haze,
)
from geodecloud.raster.counts import Counts, count
from geodecloud.raster.opacity import NO_PERCENT
from geodecloud.raster.provenance import Provenance
from geodecloud.raster.rows import Rows, load_rows, save_rows
from geodecloud.restore.classify import SHADOW_ABOVE
from geodecloud.restore.composite import _SHADOW, composite, percent
from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.filters import runs
from geodecloud.restore.screen import Fringe, fill_weight, screen
from geodecloud.settings import Output, Policy

SHAPE = (3, 5, 7)
dtypes = st.sampled_from(["uint8", "uint16", "int16", "float32"])
radiometries = st.builds(
    Radiometry, st.sampled_from([1.0, 1016.0, 10000.0, 50000.0]), st.sampled_from([0.0, -1000.0])
)
opacities = hnp.arrays(np.float32, SHAPE[1:], elements=st.floats(0, 1, width=32))
changes = hnp.arrays(np.float32, SHAPE, elements=st.floats(-1, 1, width=32))
valids = hnp.arrays(bool, SHAPE[1:])


@st.composite
def dns(draw):
    dtype = np.dtype(draw(dtypes))
    if dtype.kind == "f":
        return draw(hnp.arrays(dtype, SHAPE, elements=st.floats(-2, 1e6, width=32)))
    limits = np.iinfo(dtype)
    return draw(hnp.arrays(dtype, SHAPE, elements=st.integers(limits.min, limits.max)))


def composited(dn, valid, change, opacity, radiometry=Radiometry(), policy=Policy(), nodata=None):  # noqa: B008
    """The output's DN and provenance of rows that are the whole scene."""
    rows = Rows(0, dn, valid, change=change, opacity=opacity)
    facts = SceneFacts(*valid.shape, [0, 1, 2], radiometry, nodata)
    done = composite(rows, facts, policy)
    return done.out, done.provenance


@given(dns(), valids, opacities, changes, radiometries)
def test_clear_and_invalid_pixels_come_back_bit_for_bit(dn, valid, opacity, change, radiometry):
    rule = Policy()
    out, provenance = composited(dn, valid, change, opacity, radiometry, rule)
    untouched = ~valid | (opacity <= rule.clear_below)
    np.testing.assert_array_equal(out[:, untouched], dn[:, untouched])
    assert out.dtype == dn.dtype
    assert (provenance[~valid] == Provenance.NODATA).all()
    assert (provenance[valid & untouched] == Provenance.MEASURED).all()
    measured = provenance == Provenance.MEASURED
    np.testing.assert_array_equal(out[:, measured], dn[:, measured])
    assert (provenance[valid & (opacity >= rule.opaque_above)] == Provenance.FILLED).all()


@given(dns(), opacities, radiometries)
def test_no_change_is_exactly_no_change_even_beyond_the_model_range(dn, opacity, radiometry):
    nothing = np.zeros(SHAPE, np.float32)
    out, _ = composited(dn, np.ones(SHAPE[1:], bool), nothing, opacity, radiometry)
    np.testing.assert_array_equal(out, dn)


@given(dns(), opacities, changes, st.sampled_from([0.0, 255.0, 17.0]))
def test_no_restored_pixel_takes_the_value_of_nodata(dn, opacity, change, nodata):
    valid = (dn != nodata).all(axis=0)
    out, provenance = composited(dn, valid, change, opacity, nodata=nodata)
    assert (out[:, valid] != nodata).all()
    np.testing.assert_array_equal(provenance == Provenance.NODATA, ~valid)


@given(valids, opacities, st.none() | opacities)
def test_percent_say_zero_only_where_there_is_nothing(valid, opacity, shadow):
    dn = np.zeros(SHAPE, np.uint16)
    found = percent(Rows(0, dn, valid, opacity=opacity, shadow=shadow))
    assert (found[:, ~valid] == NO_PERCENT).all()
    expected = opacity, 0 * opacity if shadow is None else shadow
    for band, fraction in zip(found, expected, strict=True):
        np.testing.assert_array_equal(band[valid] == 0, fraction[valid] == 0)
        distance = band[valid] - 100 * fraction[valid].astype(np.float64)
        assert ((distance > -1e-4) & (distance < 1 + 1e-4)).all()


def test_percent_stay_in_bounds_where_blending_does_not():
    opacity = np.full(SHAPE[1:], np.nextafter(np.float32(1), np.float32(2)))
    rows = Rows(0, np.zeros(SHAPE, np.uint16), np.ones(SHAPE[1:], bool), opacity=opacity)
    assert (percent(rows)[0] == 100).all()


def test_percent_are_computed_only_where_they_are_asked_for():
    still, thin = np.zeros(SHAPE, np.float32), np.full(SHAPE[1:], 0.3, np.float32)
    rows = Rows(0, np.ones(SHAPE, np.uint16), thin > 0, change=still, opacity=thin, shadow=thin)
    facts = SceneFacts(*SHAPE[1:], [0, 1, 2], Radiometry())
    assert composite(rows, facts, Policy()).percent is None
    done = composite(rows, facts, Policy(), Output(opacity=Path("opacity.tif")))
    np.testing.assert_array_equal(done.percent, percent(rows))
    assert done.shadow is None


def test_a_bright_cloud_does_not_shine_through():
    dn = np.full(SHAPE, 9000, np.uint16)
    to_dark, half = np.full(SHAPE, -0.8, np.float32), np.full(SHAPE[1:], 0.3, np.float32)
    out, provenance = composited(dn, np.ones(SHAPE[1:], bool), to_dark, half)
    assert (out == 550).all()  # (1 - 0.8) * 2750
    assert (provenance == 100).all()


def test_provenance_grows_with_opacity():
    opacity = np.linspace(0, 1, 5001, dtype=np.float32)[None]
    still = np.zeros((3, 1, 5001), np.float32)
    dn = np.ones((3, 1, 5001), np.uint16)
    _, provenance = composited(dn, np.ones((1, 5001), bool), still, opacity)
    assert (np.diff(provenance[0].astype(int)) >= 0).all()
    assert {0, 1, 100, 101} <= set(provenance[0].tolist())
    assert len(set(provenance[0].tolist())) > 60


@given(
    hnp.arrays(
        np.float32, st.tuples(st.integers(1, 90), st.just(9)), elements=st.floats(0, 1, width=32)
    ),
    st.lists(st.integers(1, 40), min_size=1, max_size=90),
)
def test_the_screen_does_not_depend_on_the_portions_of_rows(opacity, heights):
    strips = list(in_portions(opacity, heights))
    out = list(screen(iter(strips), None, Policy()))
    assert [strip.first for strip in out] == [strip.first for strip in strips]
    together = np.concatenate([strip.fill_weight for strip in out])
    np.testing.assert_array_equal(together, fill_weight(opacity, Policy()))
    np.testing.assert_array_equal(np.concatenate([strip.opacity for strip in out]), opacity)


@pytest.mark.parametrize("haze", [0.0, 0.3])
def test_the_columns_that_are_named_are_all_that_is_looked_at(haze):
    """The result is the same as where all are: the cloud lies in them, and more is filled."""
    rng, shape = np.random.default_rng(0), (70, 300)
    opacity = np.zeros(shape, np.float32)
    opacity[20:40, 100:130], opacity[60:, 290:], opacity[:5, 200] = 0.9, 0.2, 0.6
    shadow = np.zeros_like(opacity)
    shadow[10, 30:40] = 0.5
    dn, valid = rng.integers(1, 5000, (3, *shape), np.uint16), rng.random(shape) < 0.9
    facts = SceneFacts(*shape, [0, 1, 2], Radiometry(haze=haze))
    changing = (opacity > 0) | (shadow > 0)
    results = []
    for known in (False, True):
        strips = []
        for part in (slice(0, 15), slice(15, 50), slice(50, 70)):
            change = np.full((3, part.stop - part.start, shape[1]), -0.1, np.float32)
            found = change, opacity[part], shadow[part]
            columns = runs(changing[part].any(axis=0)) if known else None
            strips.append(Rows(part.start, dn[:, part], valid[part], *found, columns=columns))
        screened = screen(iter(strips), None, Policy())
        done = [composite(rows, facts, Policy()) for rows in screened]
        results.append(
            [
                np.concatenate([getattr(rows, name) for rows in done], axis=-2)
                for name in ("out", "provenance", "fill_weight")
            ]
            + [sum((count(rows, [0, 1, 2]) for rows in done), Counts())]
        )
    for whole, lean in zip(*results, strict=True):
        np.testing.assert_array_equal(lean, whole)


@pytest.mark.parametrize("columns", [None, (), (slice(2, 4), slice(6, 7))])
def test_rows_are_loaded_as_they_were_saved(tmp_path, columns):
    dn, valid = np.ones(SHAPE, np.uint16), np.zeros(SHAPE[1:], bool)
    rows = Rows(5, dn, valid, windows=3, windows_skipped=2, columns=columns, out=dn + 1)
    with (tmp_path / "rows").open("w+b") as file:
        for some in (rows, rows.part(1, 3)):
            save_rows(some, file, tmp_path)
        file.seek(0)
        for some in (rows, rows.part(1, 3)):
            back = load_rows(file)
            assert back.changing == some.changing
            for one in dataclasses.fields(Rows):
                if one.name != "columns":
                    before, after = getattr(some, one.name), getattr(back, one.name)
                    np.testing.assert_array_equal(after, before)


def in_portions(opacity, heights):
    """Rows of a scene with this opacity, and shadow beside it, in portions of these heights."""
    first = 0
    for height in [*heights, len(opacity)]:
        part = opacity[first : first + height]
        if len(part):
            dn, valid = np.ones((3, *part.shape), np.uint16), np.ones(part.shape, bool)
            yield Rows(first, dn, valid, opacity=part, shadow=1 - part)
        first += height


class Mask:
    """A mask with cloud where the array is true."""

    def __init__(self, cloud):
        self.cloud = cloud

    def read(self, first, last):
        return self.cloud[first:last]


@given(
    hnp.arrays(np.float32, (50, 9), elements=st.floats(0, 1, width=32)),
    hnp.arrays(bool, (50, 9)),
    st.lists(st.integers(1, 40), min_size=1, max_size=9),
)
def test_outside_of_the_mask_all_is_clear(opacity, cloud, heights):
    with_mask = list(screen(in_portions(opacity, heights), Mask(cloud), Policy()))
    without = list(screen(in_portions(opacity, heights), None, Policy()))
    for name in ("opacity", "shadow", "fill_weight"):
        masked, whole = (
            np.concatenate([getattr(rows, name) for rows in done]) for done in (with_mask, without)
        )
        assert (masked[~cloud] == 0).all()
        np.testing.assert_array_equal(masked[cloud], whole[cloud])


@given(hnp.arrays(np.float32, (40, 50), elements=st.floats(0, 1, width=32)), st.floats(0.3, 1))
def test_only_what_is_cloudy_itself_and_near_opaque_cloud_is_filled(opacity, above):
    weight = fill_weight(opacity, Policy(opaque_above=above))
    assert weight.dtype == np.float32
    assert ((weight >= 0) & (weight <= 1)).all()
    assert (fill_weight(np.minimum(opacity, above - 0.16), Policy(opaque_above=above)) == 0).all()
    thin = np.minimum(opacity, 0.099)  # ground all the same
    thin[10:13, 10:13] = 1
    near = np.zeros(thin.shape, bool)
    near[10 - 6 : 13 + 6, 10 - 6 : 13 + 6] = True  # 3 pixels, and 3 over which it is made soft
    assert (fill_weight(thin, Policy())[~near] == 0).all()
    whole = np.maximum(opacity, np.float32(above))
    np.testing.assert_allclose(fill_weight(whole, Policy(opaque_above=above)), 1, atol=1e-5)


@pytest.mark.parametrize(("cell", "around"), [(1, 10), (2, 10), (4, 10), (8, 20), (13, 32)])
def test_the_fringe_is_as_wide_on_the_ground_in_small_pixels(cell, around):
    opacity = np.full((151, 151), 0.25, np.float32)
    opacity[75, 75] = 1
    filled = fill_weight(opacity, Policy(), Fringe.of(cell))[75] > 0.5
    assert around <= filled.sum() // 2 <= 1.2 * around  # it is made soft


@given(dns(), valids, opacities, opacities, changes, st.sampled_from(["restore", "keep"]))
def test_only_what_lies_in_shadow_is_relit(dn, valid, opacity, shadow, change, shadows):
    """Shadow changes nothing where there is none, where it is kept, and under opaque cloud."""
    policy = Policy(shadows=shadows)
    facts = SceneFacts(*valid.shape, [0, 1, 2], Radiometry())
    rows = Rows(0, dn, valid, change=change, opacity=opacity, shadow=shadow)
    done = composite(rows, facts, policy)
    plain, codes = composited(dn, valid, change, opacity, policy=policy)
    relit = done.provenance == Provenance.SHADOW
    np.testing.assert_array_equal(done.out[:, ~relit], plain[:, ~relit])
    np.testing.assert_array_equal(done.provenance[~relit], codes[~relit])
    assert (relit & (~valid | (shadow <= _SHADOW[0]) | (opacity >= policy.opaque_above))).sum() == 0
    if shadows == "keep":
        assert not relit.any()
    else:
        assert relit[valid & (shadow >= _SHADOW[1]) & (opacity < policy.clear_below)].all()


@given(valids, opacities, opacities, changes)
def test_shadow_may_be_filled_like_opaque_cloud(valid, opacity, shadow, change):
    """What is filled differs; what is found does not."""
    policy, dn = Policy(shadows="fill"), np.full(SHAPE, 500, np.uint16)
    rows = Rows(0, dn, valid, change=change, opacity=opacity, shadow=shadow)
    dark = shadow >= SHADOW_ABOVE * (1 + 1e-6)
    (screened,) = screen(iter([rows]), None, policy)
    as_cloud = np.maximum(opacity, np.minimum(shadow * policy.opaque_above / SHADOW_ABOVE, 1))
    expected = fill_weight(as_cloud.astype(np.float32), policy) * valid
    np.testing.assert_allclose(screened.fill_weight, expected, atol=1e-5)
    wanted = Output(opacity=Path("o.tif"), cloud_mask=Path("m.tif"))
    facts = SceneFacts(*valid.shape, [0, 1, 2], Radiometry())
    done, usual = (composite(rows, facts, one, wanted) for one in (policy, Policy()))
    assert (done.provenance[valid & dark] == Provenance.FILLED).all()
    assert (done.provenance != Provenance.SHADOW).all()
    np.testing.assert_array_equal(done.percent, usual.percent)
    np.testing.assert_array_equal(done.classes, usual.classes)


@given(opacities, changes, st.floats(0.12, 0.9))
def test_only_what_is_filled_is_coded_so(opacity, change, above):
    """A lone opaque pixel has no fill weight if ``opaque_above`` is low."""
    policy, dn = Policy(opaque_above=above), np.full(SHAPE, 500, np.uint16)
    rows = Rows(0, dn, np.ones(SHAPE[1:], bool), change=change, opacity=opacity)
    (screened,) = screen(iter([rows]), None, policy)
    done = composite(screened, SceneFacts(*SHAPE[1:], [0, 1, 2], Radiometry()), policy)
    opaque = opacity >= policy.opaque_above
    filled = opaque & (screened.fill_weight > 0)
    np.testing.assert_array_equal(done.provenance == Provenance.FILLED, filled)
    assert (done.provenance[opaque & ~filled] == 100).all()


@pytest.mark.parametrize("opaque", ["keep", "nodata"])
def test_shadow_is_filled_only_with_opaque_cloud(opaque):
    with pytest.raises(UsageError, match=f"`shadows` is fill, but `opaque` is {opaque}"):
        Policy(shadows="fill", opaque=opaque)


def test_what_to_do_under_opaque_cloud():
    dn = np.full(SHAPE, 5000, np.uint16)
    dark = np.full(SHAPE, -0.8, np.float32), np.ones(SHAPE[1:], np.float32)
    valid = np.ones(SHAPE[1:], bool)
    kept, marks = composited(dn, valid, *dark, policy=Policy(opaque="keep"))
    assert (kept == dn).all()
    assert (marks == Provenance.CLOUD_KEPT).all()
    gone, marks = composited(dn, valid, *dark, policy=Policy(opaque="nodata"), nodata=0)
    assert (gone == 0).all()
    assert (marks == Provenance.CLOUD_REMOVED).all()


@pytest.mark.parametrize("above", [-0.1, 0.1, 1.1])
def test_opaque_above_has_bounds(above):
    with pytest.raises(UsageError, match="opaque_above"):
        Policy(opaque_above=above)


@given(st.integers(1, 255))
def test_eurosat_values_go_to_model_range_and_back(value):
    pixels = np.array([value], np.uint8)
    assert model_to_eurosat(eurosat_to_model(pixels)) == pixels


@given(st.integers(0, 2750))
def test_model_range_and_eurosat_agree_within_a_step(dn):
    """EuroSAT's published radiometry against ours, for every DN in the range."""
    published = np.clip(np.floor(dn * 254 / 2750 + 1.5), 1, 255).astype(np.uint8)
    ours = Radiometry().to_model(np.array(dn, np.uint16))
    assert abs(float(eurosat_to_model(published)) - float(ours)) <= 0.5 / 254 + 1e-6


@given(dns(), st.floats(0, 1), changes)
def test_the_air_is_put_back_and_taken_away(dn, corrected, change):
    radiometry = Radiometry(path_radiance_removed=corrected)
    model = radiometry.to_model(dn)
    seen = radiometry.to_network(model)
    assert seen.dtype == np.float32
    assert (seen >= model - 1e-6).all()
    assert seen.max() <= 1 + 1e-6
    restored = np.clip(seen + change, 0, 1)
    moved = model + radiometry.from_network(restored - seen)
    np.testing.assert_allclose(radiometry.to_network(moved), restored, atol=1e-5)
    assert (radiometry.from_network(np.zeros(SHAPE, np.float32)) == 0).all()


def test_l1c_has_its_air_and_l2a_lacks_it():
    dark = np.array(L1C_DARK_OBJECT)
    assert measure_path_radiance_removed(dark) == 0
    assert measure_path_radiance_removed(dark - PATH_RADIANCE) > 0.9
    assert measure_path_radiance_removed(dark - PATH_RADIANCE - 0.1) == 1


@given(haze=st.floats(0, 0.7))
def test_haze_hides_that_the_air_is_gone_where_nobody_says_so(haze):
    with_air, without = (
        (1 - haze) * ground + haze * 0.8
        for ground in (np.array(L1C_DARK_OBJECT), np.array(L1C_DARK_OBJECT) - PATH_RADIANCE)
    )
    assert measure_path_radiance_removed(with_air) == 0
    assert measure_path_radiance_removed(without, "L1C") == 0
    assert measure_path_radiance_removed(without, "L2A") > 0.45
    assert measure_path_radiance_removed(without) <= measure_path_radiance_removed(without, "L2A")


def test_nodata_as_far_out_as_a_float_goes_is_no_matter():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = Radiometry(1.0).to_model(np.array([np.finfo("float32").min], "float32"))
    assert far == 0


def test_model_range_is_clipped_reflectance():
    model = Radiometry(10000, -1000).to_model(np.array([0, 1000, 2375, 3750, 16000], np.uint16))
    np.testing.assert_allclose(model, [0, 0, 0.5, 1, 1], atol=1e-6)


def test_the_dtype_suggests_a_radiometry():
    assert guess_radiometry("uint8").to_model(np.array(255, "uint8")) == 1
    assert guess_radiometry("float32").scale == 1
    assert guess_radiometry("int16") == Radiometry(10000, 0)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_must_be_positive(scale):
    with pytest.raises(UsageError, match="scale"):
        Radiometry(scale)


@given(dns(), st.floats(0, 0.8))
def test_what_lies_under_haze_is_found_again(dn, haze):
    radiometry = Radiometry(haze=haze)
    ground = radiometry.to_model(dn)
    hazy = (1 - haze) * ground + np.float32(haze * HAZE_GREY)
    np.testing.assert_allclose(radiometry.to_network(hazy), ground, atol=1e-5)


@given(st.floats(0.1, 0.65), st.floats(0.6, 0.9), st.floats(0, 0.04))
def test_haze_is_found_by_the_dark_object_of_a_picture(opacity, grey, tinge):
    """Told from what land of any colour sends up, and never taken for more than it is."""
    bare = np.array([0.1, 0.1 + tinge, 0.1])
    told = uniform_haze((1 - opacity) * bare + opacity * grey)
    added = opacity * (grey - 0.1) + 0.1  # darkest light
    assert told <= (added - 0.15) / (HAZE_GREY - 0.15) + 0.05
    assert told > 0.1 or added < 0.25 or added > 0.55
    assert uniform_haze(np.array([0.5, 0.35, 0.3])) == 0  # a desert
    assert uniform_haze(np.array(L1C_DARK_OBJECT)) == 0
    assert uniform_haze(np.array([1.0, 1.0, 1.0])) == 0  # nothing but cloud


@given(dns(), st.floats(0.1, 0.6), st.sampled_from(["fill", "keep"]))
def test_under_haze_no_pixel_is_called_measured(dn, haze, opaque):
    valid = np.ones(SHAPE[1:], bool)
    valid[0] = False
    opacity = np.zeros(SHAPE[1:], np.float32)
    opacity[1] = 1  # opaque
    nothing = np.zeros(SHAPE, np.float32)
    radiometry, policy = Radiometry(haze=haze), Policy(opaque=opaque)
    out, marks = composited(dn, valid, nothing, opacity, radiometry, policy)
    np.testing.assert_array_equal(out[:, ~valid], dn[:, ~valid])
    if opaque == "keep":
        np.testing.assert_array_equal(out[:, 1], dn[:, 1])
        assert (marks[1] == Provenance.CLOUD_KEPT).all()
    assert (np.abs(marks[2:] - np.ceil(haze * 100)) <= 1).all()
    exact = Radiometry().to_model(dn)
    inside = (exact > 0) & (exact < 1)
    inside[:, :2] = False
    ground = Radiometry(haze=haze).without_haze(exact)
    np.testing.assert_allclose(out[inside], (ground * 2750)[inside], atol=1)
