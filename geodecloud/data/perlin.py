"""Compute Perlin noise on tensors, equal to ``noise.pnoise2`` but batched and on any device.

Source: K. Perlin, "Improving Noise", SIGGRAPH 2002 (the permutation and the quintic fade), in the
two-dimensional form of the ``noise`` library, which takes the x and y of the 3-D gradients.
"""

from functools import cache

import torch
from torch import Tensor

# The reference permutation of "Improving Noise".
_PERMUTATION = (
    "151 160 137 91 90 15 131 13 201 95 96 53 194 233 7 225 140 36 103 30 69 142 8 99 37 240 21 "
    "10 23 190 6 148 247 120 234 75 0 26 197 62 94 252 219 203 117 35 11 32 57 177 33 88 237 149 "
    "56 87 174 20 125 136 171 168 68 175 74 165 71 134 139 48 27 166 77 146 158 231 83 111 229 "
    "122 60 211 133 230 220 105 92 41 55 46 245 40 244 102 143 54 65 25 63 161 1 216 80 73 209 76 "
    "132 187 208 89 18 169 200 196 135 130 116 188 159 86 164 100 109 198 173 186 3 64 52 217 226 "
    "250 124 123 5 202 38 147 118 126 255 82 85 212 207 206 59 227 47 16 58 17 182 189 28 42 223 "
    "183 170 213 119 248 152 2 44 154 163 70 221 153 101 155 167 43 172 9 129 22 39 253 19 98 108 "
    "110 79 113 224 232 178 185 112 104 218 246 97 228 251 34 242 193 238 210 144 12 191 179 162 "
    "241 81 51 145 235 249 14 239 107 49 192 214 31 181 199 106 157 184 84 204 176 115 121 50 45 "
    "127 4 150 254 138 236 205 93 222 114 67 29 24 72 243 141 128 195 78 66 215 61 156 180"
)
# x and y of the sixteen 3-D gradients; the last four as the ``noise`` library has them.
_GRADIENTS = (
    *((1, 1), (-1, 1), (1, -1), (-1, -1), (1, 0), (-1, 0), (1, 0), (-1, 0)),
    *((0, 1), (0, -1), (0, 1), (0, -1), (1, 0), (-1, 0), (0, -1), (0, 1)),
)
PERIOD = 256  # lattice cells after which the noise repeats

_hash = torch.tensor([int(v) for v in _PERMUTATION.split()] * 2, dtype=torch.int32)


@cache
def _tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the permutation, int32 (512,), and the gradients at two corners, float32 (4, 512).

    The gradient at a lattice point is that of _hash[_hash[_hash[column] + row]]: a function of
    _hash[column] + row alone, which is at most 510. So 512 entries hold all gradients and stay in
    the nearest cache. The rows are x and y of this corner, x and y of the next corner down.
    """
    index = _hash[_hash[:PERIOD].long()].repeat(2).long() & 15
    here = torch.tensor(_GRADIENTS, dtype=torch.float32)[index].T
    return _hash.to(device), torch.cat([here, here.roll(-1, dims=1)]).to(device)


def _pick(table: Tensor, index: Tensor) -> Tensor:
    """Return the entries of a one-dimensional table, in the shape of the index."""
    # On a CPU, index_select from a flat table is three times as fast as table[index].
    return table.index_select(0, index.flatten()).view(index.shape)


def _fade(t: Tensor) -> Tensor:
    """Return a smooth ramp from 0 to 1: 6t^5 - 15t^4 + 10t^3."""
    return ((t * 6 - 15).mul_(t).add_(10)).mul_(t).mul_(t).mul_(t)


def _chunk(device: torch.device) -> int:
    """Return the number of pixels to work on at once; on a CPU, what fits into its caches."""
    return 2**16 * torch.get_num_threads() if device.type == "cpu" else 2**22


def perlin(x: Tensor, y: Tensor) -> Tensor:
    """Return one octave of gradient noise, about -1..1.

    Args:
        x, y: float32, any one shape, in lattice cells.
    """
    permutation, gradients = _tables(x.device)
    column, row = x.floor(), y.floor()
    dx, dy = x - column, y - row
    fade_x, fade_y = _fade(dx), _fade(dy)
    column, row = column.int().bitwise_and_(PERIOD - 1), row.int().bitwise_and_(PERIOD - 1)
    left = _pick(permutation, column).add_(row)
    right = _pick(permutation, column.add_(1)).add_(row)

    def edge(corner: int) -> Tensor:
        """Return the noise of the upper (corner 0) or lower (2) edge, dy counted from there."""
        x_table, y_table = gradients[corner], gradients[corner + 1]
        one = _pick(x_table, left).mul_(dx).addcmul_(_pick(y_table, left), dy)
        x_right = _pick(x_table, right)
        two = (x_right * dx).sub_(x_right).addcmul_(_pick(y_table, right), dy)
        return one.lerp_(two, fade_x)

    top = edge(0)
    dy.sub_(1)
    return top.lerp_(edge(2), fade_y)


def fractal_perlin(x: Tensor, y: Tensor, octaves: int, persistence: float | Tensor = 0.5) -> Tensor:
    """Return a sum of octaves, each twice as fine and ``persistence`` times weaker.

    The sum is divided by the sum of the amplitudes, as ``noise.pnoise2`` does.

    Args:
        x, y: float32, any one shape, in cells of the coarsest lattice.
        persistence: a number, or a tensor that broadcasts against ``x``.
    """
    persistence = torch.as_tensor(persistence, dtype=x.dtype, device=x.device).expand_as(x)
    pixels = torch.stack([x, y, persistence]).flatten(1)
    parts = torch.split(pixels, _chunk(x.device), dim=1)
    return torch.cat([_octaves(part, octaves) for part in parts]).view(x.shape)


def _octaves(pixels: Tensor, octaves: int) -> Tensor:
    """Return the sum of octaves at x, y with persistence, the rows of ``pixels``, (3, count)."""
    x, y, persistence = pixels
    total, amplitudes, amplitude = perlin(x, y), torch.ones_like(x), torch.ones_like(x)
    for octave in range(1, octaves):
        frequency = 2.0**octave
        amplitude.mul_(persistence)
        amplitudes.add_(amplitude)
        total.addcmul_(perlin(x * frequency, y * frequency), amplitude)
    return total.div_(amplitudes)
