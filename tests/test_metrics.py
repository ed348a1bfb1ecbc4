"""Test the laws of the metrics, parity with scikit-image, and dehazing on known haze."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from geodecloud.evaluation.dark_channel import _box_mean, _dark_channel, dehaze
from geodecloud.evaluation.metrics import bias, mae, psnr, sam, ssim

METRICS = {"psnr": psnr, "ssim": ssim, "sam": sam, "mae": mae}
PERFECT = {"psnr": np.inf, "ssim": 1, "sam": 0, "mae": 0}
BOUNDS = {"psnr": (0, np.inf), "ssim": (-1, 1), "sam": (0, 90), "mae": (0, 1)}

seeds = st.integers(0, 2**32 - 1)
unhurried = settings(deadline=None)  # a busy machine must not fail a test


def pictures(seed, count=2, shape=(3, 24, 31)):
    """Return random images: smooth, noisy or flat."""
    rng = np.random.default_rng(seed)
    smooth = np.linspace(0, 1, shape[2]) * rng.random((3, 1, 1))
    strength = rng.choice([0, 0.02, 0.3, 1])
    made = [np.clip(smooth + strength * rng.normal(size=shape), 0, 1) for _ in range(count)]
    return [picture.astype(np.float32) for picture in made]


def everywhere(picture):
    return np.ones(picture.shape[1:], bool)


@pytest.mark.parametrize("name", METRICS)
class TestEachMetric:
    @unhurried
    @given(seed=seeds)
    def test_an_image_is_perfect_compared_with_itself(self, name, seed):
        a, _ = pictures(seed)
        assert METRICS[name](a, a.copy(), everywhere(a)) == pytest.approx(PERFECT[name], abs=1e-12)

    @unhurried
    @given(seed=seeds)
    def test_symmetric_and_within_bounds(self, name, seed):
        a, b = pictures(seed)
        score = METRICS[name](a, b, everywhere(a))
        assert score == pytest.approx(METRICS[name](b, a, everywhere(a)), nan_ok=True)
        low, high = BOUNDS[name]
        assert low - 1e-9 <= score <= high + 1e-9

    @unhurried
    @given(seed=seeds, junk=st.sampled_from([0.0, 1.0, -99.0, np.nan, np.inf]))
    def test_invalid_pixels_have_no_influence(self, name, seed, junk):
        a, b = pictures(seed)
        valid = everywhere(a)
        valid[3, 5] = valid[15:, 20:] = False
        before = METRICS[name](a, b, valid)
        a[:, ~valid] = junk
        assert METRICS[name](a, b, valid) == before
        b[:, ~valid] = 0.5
        assert METRICS[name](a, b, valid) == before

    def test_no_valid_pixel_is_an_error(self, name):
        a, b = pictures(0)
        with pytest.raises(ValueError, match="no valid pixel"):
            METRICS[name](a, b, ~everywhere(a))


def test_known_values():
    dark, light = np.full((3, 12, 12), 0.25, np.float32), np.full((3, 12, 12), 0.75, np.float32)
    assert psnr(dark, light, everywhere(dark)) == pytest.approx(6.0206, abs=1e-4)
    assert mae(dark, light, everywhere(dark)) == 0.5
    red, green = np.zeros((2, 3, 12, 12), np.float32)
    red[0], green[1] = 0.1, 0.9
    assert sam(red, green, everywhere(red)) == pytest.approx(90)


def test_the_bias_of_each_band_is_positive_where_the_image_is_too_bright():
    truth = np.full((3, 4, 6), 0.5, np.float32)
    image = truth + np.array([0.25, 0, -0.125], np.float32)[:, None, None]
    valid = everywhere(truth)
    image[:, 0], valid[0] = np.nan, False
    assert bias(image, truth, valid).tolist() == [0.25, 0, -0.125]
    assert bias(truth, image, valid).tolist() == [-0.25, 0, 0.125]
    with pytest.raises(ValueError, match="no valid pixel"):
        bias(image, truth, ~everywhere(truth))


@unhurried
@given(seed=seeds, gain=st.floats(0.1, 1))
def test_the_spectral_angle_does_not_depend_on_brightness(seed, gain):
    a, b = pictures(seed)
    score = sam(a, b, everywhere(a))
    assert sam(a * np.float32(gain), b, everywhere(a)) == pytest.approx(
        score, abs=1e-3, nan_ok=True
    )


def test_black_has_no_colour():
    a, b = pictures(1)
    a[:, :20] = 0
    below = np.zeros(a.shape[1:], bool)
    below[20:] = True
    assert sam(a, b, everywhere(a)) == sam(a, b, below)
    assert np.isnan(sam(a * 0, b, everywhere(a)))


@unhurried
@given(seed=seeds, height=st.integers(11, 40), width=st.integers(11, 40))
def test_ssim_is_that_of_scikit_image(seed, height, width):
    a, b = pictures(seed, shape=(3, height, width))
    reference = structural_similarity(
        a.astype(float),
        b.astype(float),
        channel_axis=0,
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(a, b, everywhere(a)) == pytest.approx(reference, abs=1e-9)


def test_ssim_counts_whole_windows_only():
    a, b = pictures(2, shape=(3, 40, 40))
    half = everywhere(a)
    half[:, 22:] = False
    assert ssim(a, b, half) == pytest.approx(ssim(a[:, :, :22], b[:, :, :22], half[:, :22]))
    assert np.isnan(ssim(a[:, :10], b[:, :10], half[:10]))
    half[5::11, 5::11] = False
    assert np.isnan(ssim(a, b, half))


def test_the_dark_channel_prior_removes_even_haze():
    clear = np.random.default_rng(0).uniform(0, 0.8, (3, 80, 140)).astype(np.float32)
    clear[:, ::5, ::5] = 0  # something dark in every patch
    transmission = np.where(np.arange(140) < 25, 0.02, 0.5).astype(np.float32)  # a cloud, haze
    hazy = transmission * clear + 1 - transmission
    valid = everywhere(clear)
    valid[:, 120:] = False
    inside = np.zeros_like(valid)
    inside[:, 75:115] = True
    assert mae(dehaze(hazy, valid), clear, inside) < mae(hazy, clear, inside) / 5


@unhurried
@given(seed=seeds, junk=st.sampled_from([0.0, 1.0, np.nan]))
def test_the_dark_channel_prior_ignores_invalid_pixels(seed, junk):
    (a,) = pictures(seed, 1)
    valid = everywhere(a)
    valid[10:15, 8:] = False
    before = dehaze(a, valid)
    a[:, ~valid] = junk
    after = dehaze(a, valid)
    np.testing.assert_array_equal(after[:, valid], before[:, valid])
    assert (after[:, valid] >= 0).all()
    assert (after[:, valid] <= 1).all()


def test_the_dark_channel_prior_of_a_flat_image_is_finite():
    for value in (0, 0.5, 1):
        flat = np.full((3, 9, 70), value, np.float32)
        assert np.isfinite(dehaze(flat, everywhere(flat))).all()


@unhurried
@given(seed=seeds, height=st.integers(1, 50), width=st.integers(1, 50))
def test_dark_channel_and_box_mean_are_those_of_the_part_of_a_window_inside_the_image(
    seed, height, width
):
    image = np.random.default_rng(seed).random((3, height, width))

    def by_hand(function, band, radius):
        rows = [slice(max(row - radius, 0), row + radius + 1) for row in range(height)]
        columns = [slice(max(column - radius, 0), column + radius + 1) for column in range(width)]
        return np.array([[function(band[row, column]) for column in columns] for row in rows])

    np.testing.assert_array_equal(_dark_channel(image), by_hand(np.min, image.min(axis=0), 7))
    np.testing.assert_allclose(
        _box_mean(image[0]), by_hand(np.mean, image[0], 20), rtol=0, atol=1e-12
    )
