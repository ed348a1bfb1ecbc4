"""Laws of texture: the land's own detail, only from what is seen, the same for any strips."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodecloud.restore.fill.ground import Ground, fill_colours, shadow_weight
from geodecloud.restore.fill.swatches import SIZE, Swatch, Swatches
from geodecloud.restore.fill.texture import Texture
from geodecloud.restore.filters import box_mean
from tests.conftest import SAMPLES, read

PRIOR = np.full(3, 0.3, np.float32)


def land(height=256, width=256):
    """Two kinds of ground, reddish and even in the west, greenish and rough in the east."""
    colour = np.empty((3, height, width), np.float32)
    west, east = colour[:, :, : width // 2], colour[:, :, width // 2 :]
    west[:] = np.array([0.6, 0.4, 0.5])[:, None, None]
    east[:] = np.array([0.4, 0.6, 0.5])[:, None, None]
    east += 0.1 * np.random.default_rng(3).standard_normal(east.shape[1:])
    return colour


def gathered(colour, trust):
    swatches = Swatches(*trust.shape)
    for first in range(0, trust.shape[0], SIZE):
        rows = slice(first, first + SIZE)
        swatches.add(first, colour[:, rows], trust[rows])
    cells = np.ones([-(-length // 8) for length in trust.shape], np.float32)
    return swatches.found(cells, 8)


def texture(colour, trust):
    ground = Ground(*trust.shape)
    ground.add(colour, trust)
    ground.finish()
    return Texture(
        gathered(colour, trust),
        fill_colours(ground, shadow_weight(ground), PRIOR),
        ground.cell,
        trust.shape,
    )


def around_a_hole():
    """The texture of land that is not seen everywhere; a new one, which remembers no choices."""
    trust = np.ones((256, 256), np.float32)
    trust[60:150, 100:220] = 0
    return texture(land(), trust)


@pytest.fixture(scope="module")
def from_the_top():
    """That texture, made all at once."""
    return around_a_hole()(0, np.ones((256, 256), bool))


@settings(deadline=None, max_examples=20)
@given(first=st.integers(0, 255), count=st.integers(1, 99))
def test_the_same_for_any_rows_and_whatever_else_is_wanted(from_the_top, first, count):
    everywhere, detail = np.ones((256, 256), bool), around_a_hole()
    whole = from_the_top[:, first : first + count]
    rows = everywhere[first : first + count]
    np.testing.assert_array_equal(detail(first, rows), whole)
    np.testing.assert_array_equal(detail(first, rows[:, first:], first), whole[..., first:])
    wanted = rows & (np.indices(rows.shape)[1] > 130)
    np.testing.assert_array_equal(detail(first, wanted)[:, wanted], whole[:, wanted])


def test_what_is_not_seen_has_no_part_in_it():
    trust = np.ones((256, 256), np.float32)
    trust[40:140, 40:250] = 0
    clouded = np.where(trust > 0, land(), np.float32(np.nan))
    other = np.where(trust > 0, land(), np.float32(7))
    everywhere = np.ones(trust.shape, bool)
    found = texture(clouded, trust)(0, everywhere)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, texture(other, trust)(0, everywhere))


def test_rough_where_such_land_is_rough_and_even_where_it_is_even():
    trust = np.ones((512, 512), np.float32)
    detail = texture(land(512, 512), trust)(0, np.ones(trust.shape, bool))
    even, rough = detail[:, :, :200].std(), detail[:, :, 312:].std()
    assert even < 0.005
    assert 0.06 < rough < 0.1  # 0.8 of the land's
    assert abs(float(detail[:, :, 312:].mean())) < 0.01  # the colour is not its business


def test_detail_of_real_land_is_as_strong_as_there():
    colour = read(SAMPLES / "s2_clear.tif")[:3].astype(np.float32) / 2750
    trust = np.ones(colour.shape[1:], np.float32)
    detail = texture(colour, trust)(0, trust > 0)

    def strength(bands):
        return np.mean([band - box_mean(band, 4) for band in bands], axis=0).std()

    assert 0.4 * strength(colour) < strength(detail) < 1.1 * strength(colour)


def test_a_ramp_has_no_detail():
    rows, columns = np.mgrid[:256, :256].astype(np.float32)
    ramp = np.stack([rows, columns, rows + columns]) / 600
    detail = texture(ramp, np.ones((256, 256), np.float32))(0, np.ones((256, 256), bool))
    assert np.abs(detail).max() < 0.03


@pytest.mark.parametrize("shape", [(63, 500), (500, 63), (64, 64), (1, 1), (65, 200), (127, 90)])
def test_small_and_hidden_scenes_have_none(shape):
    colour, trust = land(*shape), np.ones(shape, np.float32)
    found = gathered(colour, trust)
    assert bool(found) == (min(shape) >= SIZE)
    assert texture(colour, trust)(0, trust > 0).shape == (3, *shape)
    hidden = np.zeros(shape, np.float32)
    assert gathered(colour, hidden) == []
    assert not texture(colour, hidden)(0, trust > 0).any()


def test_hidden_and_glaring_swatches_are_taken_last_and_shadow_hides():
    """Even land, but for marks in what is flawed, by which it would show."""
    even = np.full((4, SIZE, SIZE), 0.4, np.float32)
    even[3] = 1
    dull, glaring = even.copy(), even.copy()
    dull[:3, :, ::9] = 0.3
    glaring[:3, ::7, ::7] = 0.9
    sound = [Swatch(0, 0, 1, even)] * 8
    flawed = [Swatch(0, 0, 0.6, dull)] * 4 + [Swatch(0, 0, 1, glaring)] * 4
    cells, wanted = np.full((3, 20, 20), 0.4, np.float32), np.ones((160, 160), bool)
    assert np.abs(Texture(flawed + sound, cells, 8, wanted.shape)(0, wanted)).max() < 1e-5
    assert np.abs(Texture(flawed, cells, 8, wanted.shape)(0, wanted)).max() > 0.05
    few = Texture(flawed + sound[:2], cells, 8, wanted.shape)  # fewer than there is a choice of
    assert np.abs(few(0, wanted)).max() < 1e-5

    trust, lit = np.ones((128, 128), np.float32), np.ones((16, 16), np.float32)
    lit[:4] = 0
    swatches = Swatches(*trust.shape)
    for first in (0, 64):
        swatches.add(first, land(128, 128)[:, first : first + SIZE], trust[first : first + SIZE])
    found = swatches.found(lit, 8)
    assert {swatch.row for swatch in found} == {0, 64}
    assert all(
        0.4 < swatch.weight < 0.5 if swatch.row == 0 else swatch.weight == 1 for swatch in found
    )
    assert (found[0].pixels[:, :32] == 0).all()
    assert np.abs(found[0].detail()[:, :32]).max() == 0


def marked():
    """The only swatch of a scene: even land with a bold mark on it."""
    pixels = np.full((4, SIZE, SIZE), 0.4, np.float32)
    pixels[:3, 20:30, 12:50] = pixels[:3, 20:52, 40:50] = 0.7
    pixels[3] = 1
    return Swatch(0, 0, 1, pixels)


def test_the_only_swatch_there_is_does_not_come_back_again_and_again():
    shape = 320, 448
    cells = np.full((3, 40, 56), 0.4, np.float32)
    detail = Texture([marked()], cells, 8, shape)(0, np.ones(shape, bool))[0]
    spectrum = np.fft.rfft2(detail - detail.mean())
    alike = np.fft.irfft2(np.square(np.abs(spectrum)), s=shape)  # of the detail and itself, shifted
    far = np.hypot(*(np.minimum(i, n - i) for i, n in zip(np.indices(shape), shape, strict=True)))
    assert np.abs(alike[far > 20]).max() < 0.15 * alike[0, 0]


def test_noise_has_the_strength_and_the_colours_of_the_detail_it_stands_for():
    pixels = marked().pixels.copy()
    pixels[1] = 0.8 - pixels[0]
    pixels[2] = 0.4
    cells, wanted = np.full((3, 40, 40), 0.4, np.float32), np.ones((320, 320), bool)
    swatch = Swatch(0, 0, 1, pixels)
    detail = Texture([swatch], cells, 8, wanted.shape)(0, wanted)
    assert 0.4 < detail[0].std() / swatch.detail()[0].std() < 0.8
    np.testing.assert_allclose(detail[1], -detail[0], atol=1e-3)
    assert np.abs(detail[2]).max() < 1e-3


def test_copies_where_there_are_many_swatches_and_noise_in_their_holes():
    signs = np.random.default_rng(5).integers(0, 2, (512, 512)) * 2 - 1
    colour = np.broadcast_to(np.float32(0.5) + np.float32(0.1) * signs, (3, 512, 512))
    trust = np.ones(signs.shape, np.float32)
    trust[np.indices(signs.shape).sum(axis=0) % 90 < 30] = 0
    detail = texture(colour, trust)(0, trust >= 0)[0]
    copied = np.abs(np.abs(detail) - 0.08) < 0.01  # 0.8 of the land's; of noise, one in eight is
    assert 0.4 < copied.mean() < 0.7
    blocks = detail.reshape(32, 16, 32, 16).std(axis=(1, 3))
    assert blocks.min() > 0.5 * np.median(blocks)


def test_the_same_swatch_is_not_taken_twice_side_by_side():
    """Each swatch has waves of its own, the same however turned, by which it is known again."""
    shape, waves = (448, 448), np.arange(3, 33, 3)
    along = np.arange(SIZE, dtype=np.float32) / SIZE * 2 * np.pi
    swatches = []
    for k, count in enumerate(waves):
        pixels = np.ones((4, SIZE, SIZE), np.float32)
        pixels[:3] = 0.4 + 0.1 * np.outer(np.cos(count * along), np.cos(count * along))
        swatches.append(Swatch(128 + SIZE * (k // 5), 64 + SIZE * (k % 5), 1, pixels))
    cells = np.full((3, 56, 56), 0.4, np.float32)
    detail = Texture(swatches, cells, 8, shape)(0, np.ones(shape, bool))[0]
    phase = np.indices(shape).sum(axis=0) / SIZE * 2 * np.pi
    powers = [
        sum(
            box_mean((detail * part(count * phase)).astype(np.float32), 10) ** 2
            for part in (np.cos, np.sin)
        )
        for count in waves
    ]
    taken = np.argmax(powers, axis=0)
    for lines in (taken, taken.T):
        assert max(longest_run(line) for line in lines) < 1.25 * SIZE


def longest_run(line):
    ends = np.flatnonzero(np.diff(line)) + 1
    return np.diff([0, *ends, len(line)]).max()


def test_of_each_region_the_most_visible():
    trust = np.full((1024, 1024), 0.6, np.float32)
    trust[300:400, 500:600] = 1
    found = gathered(land(1024, 1024), trust)
    assert len(found) <= 16 * 16
    assert max(found, key=lambda swatch: swatch.weight).weight == 1
    assert all(swatch.weight >= 0.59 for swatch in found)
    places = [(swatch.row, swatch.column) for swatch in found]
    assert places == sorted(set(places))
