"""Read the scaling of DN to reflectance from Landsat's MTL file beside a scene."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

# Group of the rescaling, by product level. The file of level 2 holds the group of level 1, too.
_GROUPS = {"1": "LEVEL1_RADIOMETRIC_RESCALING", "2": "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"}
_OLI = re.compile(r"L[CO]0[89]_|LANDSAT_[89]")  # whose red, green and blue are bands 4, 3 and 2
_PRODUCT = re.compile(r"(L[COTEM]0\d_L([12])[A-Z]{2}_\d{6}_\d{8}_\d{8}_\d\d_[A-Z]\w)(?:_|\.|\Z)")
_FACT = re.compile(r'"?REFLECTANCE_(MULT|ADD)_BAND_(\d+)"?\s*[=:]\s*"?([-+.\dEe]+)')
_LARGEST = 1 << 20  # bytes; an MTL file has some 20,000

Rescaling = list[tuple[float, float]]


def read_rescaling(files: Sequence[str], tags: Mapping[str, str]) -> Rescaling:
    """Return scale and offset of red, green and blue: reflectance = DN * scale + offset.

    Reflectance of level 1 is not corrected for the sun's elevation.

    Args:
        files: files of the scene; their product's MTL file, text or JSON, may lie beside them.
        tags: tags of the scene, which may hold the contents of the MTL file.

    Returns:
        empty if neither states them.
    """
    flat = "\n".join(f"{key.rpartition('.')[2]} = {value}" for key, value in tags.items())
    if "REFLECTANCE_MULT_BAND" in flat:
        return _rescaling(flat, oli=_OLI.search(flat) is not None)
    for file in map(Path, files):
        if product := _PRODUCT.match(file.name):
            text = _read_beside(file, product[1]).partition(_GROUPS[product[2]])[2]
            if found := _rescaling(text, oli=_OLI.match(file.name) is not None):
                return found
    return []


def _read_beside(file: Path, product: str) -> str:
    """Return the text of the MTL file beside a file of the product; empty: there is none."""
    for metadata in (file.parent / f"{product}_MTL.{kind}" for kind in ("txt", "json")):
        if metadata.is_file() and metadata.stat().st_size <= _LARGEST:
            return metadata.read_text(encoding="utf-8", errors="replace")
    return ""


def _rescaling(text: str, *, oli: bool) -> Rescaling:
    facts: dict[tuple[str, int], float] = {}
    for kind, band, value in _FACT.findall(text):
        try:
            facts.setdefault((kind, int(band)), float(value))
        except ValueError:
            return []
    pairs = [
        (facts.get(("MULT", band), 0.0), facts.get(("ADD", band), 0.0))
        for band in ((4, 3, 2) if oli else (3, 2, 1))
    ]
    return pairs if all(scale > 0 for scale, _ in pairs) else []
