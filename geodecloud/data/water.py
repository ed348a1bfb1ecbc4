"""Water: haze over nothing but water is the same picture as paler water."""

from torch import Tensor

from geodecloud.model.config import CloudMix

# Standard deviation of brightness, up to which a tile is water. In model range EuroSAT's SeaLake
# has 0.002 to 0.012 (5th to 75th percentile, median 0.005), its Forest 0.008 to 0.015.
WATER_STD = 0.007


def is_water(clear: Tensor) -> Tensor:
    """Which tiles are as even as only water is: bool (N,), of float32 (N, 3, H, W)."""
    return clear.mean(dim=1).flatten(1).std(dim=1) < WATER_STD


def without_haze_over_water(clear: Tensor, uniforms: Tensor, mix: CloudMix) -> Tensor:
    """The clouds' uniforms, with none drawn where there would be haze over nothing but water.

    What looks like both has to be one of them, and to change clear water is the worse mistake.

    Args:
        clear: float32 (N, 3, H, W) in model range.
        uniforms: float32 (N, clouds.UNIFORMS), 0..1; the first column says which kind.
    """
    hazy = (uniforms[:, 0] >= mix.none) & (uniforms[:, 0] < mix.none + mix.haze)
    out = uniforms.clone()
    if mix.none > 0:
        out[hazy & is_water(clear), 0] = 0
    return out
