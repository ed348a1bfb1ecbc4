"""Choose the bands besides red, green and blue among the files of a product, or of a folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rasterio.enums import ColorInterp

from geodecloud.errors import BandsWarning, SceneError, warn
from geodecloud.raster.bands import is_same_band
from geodecloud.raster.dn import exact
from geodecloud.raster.gdal import open_raster
from geodecloud.raster.grid import Grid
from geodecloud.raster.sensors import BandNames, words_of
from geodecloud.raster.wavelengths import (
    near_infrared,
    numbers_of,
    shows_ground,
    shows_no_ground,
    wavelength_of,
)

ALL, NONE = "all", "none"
_RESOLUTION = re.compile(r"_(\d+)m\Z")  # at the end of the name of a Sentinel-2 band
_MOST_FACTOR = 10  # largest width of a coarser band's pixel, in pixels of red
_SAME_CORNER = 0.01  # largest distance between equal corners, in pixels of red


@dataclass(frozen=True)
class ExtraFile:
    """A file of one band besides red, green and blue.

    path: the name that GDAL opens.
    name: the band's name, like B08.
    wavelength: the central wavelength, nm.
    factor: width and height of a pixel, in pixels of red.
    """

    path: str
    name: str
    wavelength: float
    factor: int = 1


@dataclass(frozen=True)
class Pixels:
    """The grid, dtype and nodata value of a band's file, to be compared with those of red."""

    grid: Grid
    dtype: str
    nodata: float | None

    @classmethod
    def of(cls, dataset: Any) -> "Pixels":
        """Return the grid, dtype and nodata value of an open file."""
        return cls(Grid.of(dataset), dataset.dtypes[0], dataset.nodata)


def known_files(
    files: Sequence[str], colours: Sequence[str], least_metres: int = 0
) -> list[ExtraFile]:
    """Return the files named as bands that show the ground, sorted by wavelength.

    Of a band with several resolutions, the finest comes first. Words that the name of red has, too,
    say nothing of the band: the scene may be called "clouds".

    Args:
        files: files of the product or folder.
        colours: files to leave out, those of red, green and blue.
        least_metres: finest resolution to return, where a file's name states one.
    """
    stems = [Path(file).stem for file in files]
    shown = [stem.replace("_", " ") for stem in stems]
    folder = Path(files[0]).parent.name if files else ""
    numbers = numbers_of(BandNames(shown, file="/".join([folder, *stems])))
    shared = set(words_of(Path(colours[0]).stem)) if colours else set()
    found = []
    for file, stem in zip(files, stems, strict=True):
        own = "_".join(word for word in words_of(stem) if word not in shared)
        if colours and shows_no_ground(own):  # like qa_nir
            continue
        if file in colours or not (band := _band_of(stem, numbers)):
            continue
        stated = _RESOLUTION.search(stem)
        metres = int(stated[1]) if stated else least_metres
        if metres >= least_metres:
            found.append((band[1], metres, file, band[0]))
    return [ExtraFile(file, name, wavelength) for wavelength, _, file, name in sorted(found)]


def choose(
    known: Sequence[ExtraFile], wanted: Sequence[str] | None, red: Pixels, where: str
) -> list[ExtraFile]:
    """Return the files to read, with their factors.

    Args:
        wanted: names of bands, ``all`` or ``none``; None: near infrared, if its pixels are red's.
        where: the product or folder, for messages.

    Raises:
        SceneError: a named band is missing, or does not fit red.
    """
    if wanted is None:
        return _near_infrared(known, red, where)
    names = [name.lower() for name in wanted]
    if names == [NONE]:
        return []
    if names == [ALL]:
        each = {one.name: [same for same in known if same.name == one.name] for one in known}
        return [fit for files in each.values() if (fit := _finest_or_warn(files, red, where))]
    chosen = []
    for name in wanted:
        files = [one for one in known if _plain(one.name) == _plain(name)]
        fit = _finest(files, red)
        if fit is None:
            there = ", ".join(dict.fromkeys(one.name for one in known)) or "none"
            reason = _misfit(files[0], red)[1] if files else f"it has these: {there}"
            raise SceneError(f"{where}: band {name} of `extra_bands` cannot be read; {reason}")
        chosen.append(fit)
    return list(dict.fromkeys(chosen))  # B8 and B08 are one


def _near_infrared(known: Sequence[ExtraFile], red: Pixels, where: str) -> list[ExtraFile]:
    """Return the near infrared file whose pixels are red's; warn if there are only others."""
    reasons = []
    for one in (known[index] for index in near_infrared([one.wavelength for one in known])):
        try:
            factor, reason = _misfit(one, red)
        except SceneError:
            text = f"near infrared band {one.name} cannot be opened, and is left out"
            warn(BandsWarning, f"{where}: {text}")
            return []
        if factor == 1:
            return [one]
        remedy = f"give `extra_bands` {one.name} to read it" if factor else "convert it to red's"
        reasons.append(f"{reason}; {remedy}")
    if reasons:
        warn(BandsWarning, f"{where}: near infrared is left out: {reasons[0]}")
    return []


def _finest(files: Sequence[ExtraFile], red: Pixels) -> ExtraFile | None:
    """Return the first file of a band that fits red, with its factor; None: no file fits."""
    for one in files:
        factor, _ = _misfit(one, red)
        if factor:
            return replace(one, factor=factor)
    return None


def _finest_or_warn(files: Sequence[ExtraFile], red: Pixels, where: str) -> ExtraFile | None:
    """Return :func:`_finest`; warn if no file fits."""
    fit = _finest(files, red)
    if fit is None:
        reason = _misfit(files[0], red)[1]
        warn(BandsWarning, f"{where}: band {files[0].name} is left out: {reason}")
    return fit


def _misfit(file: ExtraFile, red: Pixels) -> tuple[int, str]:
    """Return the width of a file's pixel in pixels of red, 0 if it does not fit; and why not 1.

    Raises:
        SceneError: the file cannot be opened.
    """
    with open_raster(file.path) as dataset:
        colours = [one for one in dataset.colorinterp if one != ColorInterp.alpha]
        own, count = Pixels.of(dataset), len(colours)
    name = Path(file.path).name
    if count != 1:
        return 0, f"{name} has {count} bands"
    if own.dtype != red.dtype:
        return 0, f"{name} has {own.dtype}, red has {red.dtype}"
    if own.nodata is not None and repr(own.nodata) != repr(red.nodata):
        theirs = "none" if red.nodata is None else exact(red.nodata)
        return 0, f"{name} has nodata {exact(own.nodata)}, red has {theirs}"
    factor = _factor(own.grid, red.grid)
    return factor, "" if factor == 1 else f"the pixels of {name} differ from those of red"


def _factor(own: Grid, red: Grid) -> int:
    """Return the width and height of a pixel in pixels of red; 0: the grids do not fit."""
    if own.crs != red.crs:
        return 0
    mine, theirs = own.transform, red.transform
    ratio = mine.a / theirs.a if theirs.a else 0.0
    factor = round(ratio)
    if not 1 <= factor <= _MOST_FACTOR:
        return 0
    if own.shape != tuple(-(-length // factor) for length in red.shape):
        return 0
    far = ((factor * x, factor * y) for x, y in ((0, 0), (own.shape[1], own.shape[0])))
    own_corners = (mine * (0, 0), mine * (own.shape[1], own.shape[0]))
    for pixel, corner in zip(far, own_corners, strict=True):
        column, row = ~theirs * corner
        if max(abs(column - pixel[0]), abs(row - pixel[1])) > _SAME_CORNER:
            return 0
    return factor


def _band_of(stem: str, numbers: Any) -> tuple[str, float] | None:
    """Return a band's name and wavelength by its file name, which may begin with other words."""
    words = words_of(stem)
    for first in range(len(words)):
        if words[first].isdigit():  # no part of the band's name
            continue
        wavelength = wavelength_of("_".join(words[first:]), numbers)
        if wavelength and shows_ground(wavelength):
            name = "".join(word for word in words[first:] if not is_same_band(word))
            return name.upper() if re.fullmatch(r"b\d+a?", name) else name, wavelength
    return None


def _plain(name: str) -> str:
    """Return a band's name in a form that is the same for "B8", "b08" and "Band 8"."""
    joined = "".join(words_of(name))
    return re.sub(r"^(?:band|b)0*(?=\d)", "b", joined)
