"""List the kinds of synthetic cloud, from which the command line takes its choices.

This module imports no torch, so that ``--help`` is fast.

A kind is a row of ``KINDS`` and a fraction in :class:`geodecloud.data.config.CloudMix`. Its random
numbers are those of :mod:`geodecloud.data.cloud_fields`. A new number takes the name of a spare one
in :data:`geodecloud.data.clouds.CLOUD_NUMBERS`, or the clouds of every seed would change.
"""

from dataclasses import dataclass

Bounds = tuple[float, float]


@dataclass(frozen=True)
class CloudKind:
    """The traits of a kind of cloud, beside the shape of its field.

    text: what the command line calls it.
    thin: the light that the cloud adds defines it; of thick cloud, the light that it takes.
    start, softness: where the cover starts and how softly it sets in, in standard deviations of
        the noise.
    attenuation: of thick cloud at full cover, 0..1.
    most_attenuation: the largest, 0..1.
    bright: chance of an airlight beyond the model range.
    casts_shadow: onto the ground beside it.
    most_opacity: largest mean over a simulated scene, so that there is ground between.
    """

    text: str
    thin: bool = True
    start: Bounds = (-2.0, 0.6)
    softness: Bounds = (1.2, 4.0)
    attenuation: Bounds = (0.0, 0.0)
    most_attenuation: float = 0.995
    bright: float = 0.8
    casts_shadow: bool = False
    most_opacity: float = 0.6


KINDS = {
    "none": CloudKind("no cloud"),
    # Even haze that hides everything is grey at best. So is water, which is more frequent.
    "haze": CloudKind("even haze", most_attenuation=0.8, bright=0.55),
    "veil": CloudKind("thin veil"),
    "cirrus": CloudKind("streaks of cirrus"),
    "cumulus": CloudKind(
        "broken cumulus",
        thin=False,
        start=(-0.6, 1.6),
        softness=(0.5, 3.6),
        attenuation=(0.25, 1.0),
        bright=1.0,
        casts_shadow=True,
    ),
    "deck": CloudKind(
        "opaque deck",
        thin=False,
        start=(-5.0, -2.0),
        softness=(0.5, 2.0),
        attenuation=(0.92, 1.0),
        bright=1.0,
        most_opacity=1.0,
    ),
}
CLOUDS = tuple(name for name in KINDS if name != "none")
