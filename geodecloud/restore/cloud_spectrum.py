"""Fit the spectrum of a scene's thin cloud to the coarse answer, for the other bands."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from geodecloud.raster.rows import given
from geodecloud.restore.coarse import Coarse
from geodecloud.restore.depth_ratio import fit_ratios
from geodecloud.restore.facts import SceneFacts
from geodecloud.restore.filters import Floats
from geodecloud.restore.gate import FAINTEST_CLOUD
from geodecloud.restore.other_bands import fit_exponent
from geodecloud.restore.patches import CHANGE, OPACITY

_ROWS = 256  # rows of cells at once


def with_cloud_spectrum(facts: SceneFacts, coarse: Coarse) -> SceneFacts:
    """Return the facts with the spectrum of thin cloud, fitted to the coarse answer."""
    if not facts.others:
        return facts
    others = replace(facts.others, exponent=cloud_exponent(coarse))
    ratios = fit_ratios(others, given(coarse.sampled), coarse.light, coarse.answer)
    return replace(facts, others=replace(others, ratios=ratios))


def cloud_exponent(coarse: Coarse) -> float:
    """Fit the wavelength exponent of the scene's thin cloud to the coarse answer."""

    def parts() -> Iterator[tuple[Floats, Floats, Floats]]:
        for start in range(0, coarse.answer.shape[1], _ROWS):
            some = np.s_[:, start : start + _ROWS]
            light, answer = (
                cells[some].astype(np.float32) for cells in (coarse.light, coarse.answer)
            )
            opacity = answer[OPACITY]
            changed = np.where(opacity > FAINTEST_CLOUD, opacity, np.float32(0))
            yield light, np.clip(light, 0, 1) + answer[CHANGE], changed

    return fit_exponent(parts())
