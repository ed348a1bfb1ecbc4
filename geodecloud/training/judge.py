"""Declare the interface by which a run is validated: scores and pictures of held-out land."""

from typing import NamedTuple, Protocol

from torch import Tensor

OPAQUE, CLEAR = 0.9, 1e-3  # opacity from which the ground is hidden, and below which it is clear


class Examples(NamedTuple):
    """Pictures for a figure.

    rows: by name, a row of N pictures: float32 (N, 3 or 1, H, W), model range or 0..1.
    captions: of the N columns.
    """

    rows: dict[str, Tensor]
    captions: tuple[str, ...]


class Judge(Protocol):
    """Validator of a run: it scores the averaged generator on held-out land."""

    def scores(self) -> dict[str, float]:
        """Return the scores by name; the best model is that with the highest ``psnr_restored``."""
        ...

    def examples(self) -> Examples:
        """Return windows before and after restoring, each captioned with its kind of cloud."""
        ...
