"""Other suns, soils and sensors than those of the training tiles."""

import torch
from torch import Tensor


def augment(clear: Tensor, uniforms: Tensor) -> Tensor:
    """Other suns, soils and sensors: turned, mirrored, brighter or darker, other colours.

    Brightness stays below what would make bright ground look like cloud: the 98th percentile of
    a tile is never raised above 0.9.

    Args:
        clear: float32 (N, 3, H, W) in model range, H == W.
        uniforms: float32 (N, at least 10), 0..1.
    """
    tiles = []
    for tile, (turns, mirror) in zip(clear, uniforms[:, :2].tolist(), strict=True):
        turned = torch.rot90(tile, int(turns * 4), dims=(1, 2))
        tiles.append(turned.flip(2) if mirror < 0.5 else turned)
    out = torch.stack(tiles)
    u = uniforms[:, 2:, None, None]
    strength = u[:, 0:1]  # (N, 1, 1, 1): some tiles hardly change
    gamma = 1.25 ** (strength * (2 * u[:, 1:2] - 1))
    gain = 1.55 ** (strength * (2 * u[:, 2:3] - 1)) * 1.15 ** (strength * (2 * u[:, 3:6] - 1))
    # Less or more path radiance than L1C has: L2A has none. Stronger towards blue, as the sky is.
    sky = torch.tensor([0.5, 0.75, 1.0])[:, None, None]
    offset = strength * (0.11 * u[:, 6:7] - 0.06) * sky
    changed = out.clamp_min(1e-4) ** gamma * gain + offset
    bright = changed.flatten(1).quantile(0.98, dim=1)[:, None, None, None]
    limit = torch.where(bright > 0.9, 0.9 / bright, torch.ones(()))
    was_bright = out.flatten(1).quantile(0.98, dim=1)[:, None, None, None] > 0.9
    return torch.where(was_bright, out, changed * limit).clamp(0, 1)
