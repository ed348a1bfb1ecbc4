"""Read the names of a raster's bands, and the wavelengths that names and tags state."""

import re
from itertools import takewhile
from pathlib import PurePath
from typing import Any
from xml.etree import ElementTree as ET

from geodecloud.raster.sensors import BandNames, words_of

_IN_NM = re.compile(r"(?i)(?<![\d.])(\d{3,4}(?:\.\d+)?)\s*(?:nm|nanomet)")
_IN_UM = re.compile(r"(?i)(?<![\d.])(\d?\.\d+)\s*(?:um|µm|micromet)")
_RHO = re.compile(r"(?i)(?:^|_)rho[st]_(\d{3,4})\Z")  # ACOLITE's reflectance at so many nm
_WAVELENGTH_TAGS = ("CENTRAL_WAVELENGTH_UM", "CENTRAL_WAVELENGTH", "WAVELENGTH")
_PATH = re.compile(r"[/\\].*\.\w{2,5}\Z")


def names_of(dataset: Any, file: str) -> BandNames:
    """Return the names of a raster's bands, with context to interpret them.

    Args:
        dataset: an open raster.
        file: its name.
    """
    return BandNames(band_names(dataset), dataset.colorinterp, file, dataset.tags())


def band_names(dataset: Any) -> tuple[str | None, ...]:
    """Return the name of each band: its description; else, in a VRT of one file per band, its file.

    Words with which all files begin are left out.
    """
    if any(dataset.descriptions) or dataset.driver != "VRT":
        return tuple(name and _stem(name) for name in dataset.descriptions)
    text = dataset.tags(ns="xml:VRT").get("xml:VRT", "<VRTDataset/>")
    bands = ET.fromstring(text).findall("VRTRasterBand")  # noqa: S314  GDAL has parsed it
    files = [{source.text or "" for source in band.iter("SourceFilename")} for band in bands]
    if not all(len(one) == 1 for one in files) or len(set().union(*files)) < dataset.count:
        return tuple(dataset.descriptions)
    words = [words_of(PurePath(file).stem) for (file,) in files]
    alike = (len(set(some)) == 1 for some in zip(*words, strict=False))
    shared = sum(1 for _ in takewhile(bool, alike))
    return tuple("_".join(some[shared:]) or None for some in words)


def _stem(name: str) -> str:
    """Return a name; if it is the path of a file, only the file's stem."""
    return re.split(r"[/\\]", name)[-1].rpartition(".")[0] if _PATH.search(name) else name


def stated_wavelength(dataset: Any, band: int) -> float | None:
    """Return the wavelength in nm that a band's tags or name state; None: they do not."""
    tags = {**dataset.tags(band), **dataset.tags(band, ns="IMAGERY")}
    stated = {key.upper(): value for key, value in tags.items()}
    for key in _WAVELENGTH_TAGS:
        try:
            value = float(stated[key])
        except (KeyError, ValueError):
            continue
        return value * 1000 if value < 100 else value  # µm, or nm
    return wavelength_in(dataset.descriptions[band - 1] or "")


def wavelength_in(name: str) -> float | None:
    """Return the wavelength in nm that a name states with its unit; None: it does not."""
    for pattern, factor in ((_IN_NM, 1.0), (_RHO, 1.0), (_IN_UM, 1000.0)):
        if match := pattern.search(name):
            return float(match[1]) * factor
    return None
