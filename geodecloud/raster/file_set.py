"""Refuse files of one band each that do not belong together, or are out of order."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from geodecloud.errors import BandsWarning, SceneError, UsageError, warn
from geodecloud.raster.bands import COLOURS, colour_numbers, colour_of_file
from geodecloud.raster.extra_bands import ExtraFile
from geodecloud.raster.products import find_date
from geodecloud.raster.sensors import BandNames


def day_of(file: str) -> date | None:
    """Return the first day that a file's name states; None: it states none."""
    return find_date(Path(file).stem)


def refuse_other_days(files: Sequence[str], where: str) -> None:
    """Refuse files of red, green and blue whose names state several days.

    Args:
        where: the folder or pattern, for messages.

    Raises:
        SceneError: two names state different days.
    """
    dated = {day: Path(file).name for file in files if (day := day_of(file))}
    if len(dated) > 1:
        first, second = sorted(dated)[:2]
        raise SceneError(
            f"{where}: {dated[first]} is of {first}, {dated[second]} of {second}; give the files "
            "of one day, or name them by `red`, `green` and `blue`"
        )


def of_same_day(known: Sequence[ExtraFile], colours: Sequence[str], where: str) -> list[ExtraFile]:
    """Return further bands without those of another day than red, green and blue, and warn.

    Args:
        where: the folder or pattern, for messages.
    """
    days = set(filter(None, map(day_of, colours)))
    other = [one for one in known if days and (day := day_of(one.path)) and day not in days]
    if other:
        names = ", ".join(Path(one.path).name for one in other)
        warn(BandsWarning, f"{where}: {names} left out, of another day than red, green and blue")
    return [one for one in known if one not in other]


def refuse_other_order(files: Sequence[str]) -> None:
    """Refuse red, green and blue if two are one file, or if their names say another order.

    Raises:
        UsageError: two are one file; or all names say a colour, and one says another.
    """
    places = [os.path.realpath(file) for file in files]
    for file, place in zip(files, places, strict=True):
        if places.count(place) == 2:
            raise UsageError(
                f"{file}: is given for two of red, green and blue; give each its own file"
            )
    fits = [
        colour_of_file(Path(file).stem, colour_numbers(BandNames((), file=file))) for file in files
    ]
    said = [COLOURS[fit[0]] for fit in fits if fit]
    if len(said) < len(COLOURS) or len(set(places)) == 1:  # one file thrice is meant: grey
        return
    for file, colour, name in zip(files, COLOURS, said, strict=True):
        if name != colour:
            raise UsageError(
                f"{file}: is given as {colour}, but its name says {name}; give red, green, blue in "
                "this order"
            )
