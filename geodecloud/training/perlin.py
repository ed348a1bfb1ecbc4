"""Perlin noise on tensors, equal to ``noise.pnoise2`` but batched and on any device.

Source: K. Perlin, "Improving Noise", SIGGRAPH 2002 (the permutation and the quintic fade), in the
two-dimensional form of the ``noise`` library, which takes the x and y of the 3-D gradients.
"""

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

# For each x and y lattice corner the gradient there: the permutation applied twice.
_hash = torch.tensor([int(v) for v in _PERMUTATION.split()])
_inner = (_hash[:, None] + torch.arange(PERIOD)[None, :]) % PERIOD  # (256 x, 256 y)
_LATTICE = torch.tensor(_GRADIENTS, dtype=torch.float32)[_hash[_hash[_inner]] & 15].reshape(-1, 2)


def perlin(x: Tensor, y: Tensor) -> Tensor:
    """One octave of gradient noise, about -1..1.

    Args:
        x, y: float32, any one shape, in lattice cells.
    """
    lattice = _LATTICE.to(x.device)
    column, row = x.floor(), y.floor()
    dx, dy = x - column, y - row
    column, row = column.long(), row.long()

    def corner(right: int, down: int) -> Tensor:
        cell = ((column + right) % PERIOD) * PERIOD + (row + down) % PERIOD
        gradient = lattice[cell]
        return gradient[..., 0] * (dx - right) + gradient[..., 1] * (dy - down)

    fade_x = dx * dx * dx * (dx * (dx * 6 - 15) + 10)
    fade_y = dy * dy * dy * (dy * (dy * 6 - 15) + 10)
    top = torch.lerp(corner(0, 0), corner(1, 0), fade_x)
    bottom = torch.lerp(corner(0, 1), corner(1, 1), fade_x)
    return torch.lerp(top, bottom, fade_y)


def fractal_perlin(
    x: Tensor, y: Tensor, octaves: int, persistence: float | Tensor = 0.5, lacunarity: float = 2.0
) -> Tensor:
    """Sum of octaves, each ``lacunarity`` times finer and ``persistence`` times weaker.

    Divided by the sum of the amplitudes, as ``noise.pnoise2`` does.

    Args:
        x, y: float32, any one shape, in cells of the coarsest lattice.
        octaves: how many to add.
        persistence: a number, or a tensor that broadcasts against ``x``.
    """
    total = torch.zeros_like(x)
    amplitude = torch.ones_like(x[..., :1, :1])
    amplitudes = torch.zeros_like(amplitude)
    frequency = 1.0
    for _ in range(octaves):
        total = total + perlin(x * frequency, y * frequency) * amplitude
        amplitudes = amplitudes + amplitude
        amplitude = amplitude * persistence
        frequency *= lacunarity
    return total / amplitudes
