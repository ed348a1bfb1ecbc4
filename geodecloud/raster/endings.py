"""Check that the name of an output fits its format."""

from pathlib import PurePath

_GEOTIFF = "the output is a GeoTIFF", (".tif", ".tiff")
_OTHERS = {  # by the field of the settings that names the output
    "preview": ("the preview is a PNG", (".png",)),
    "report": ("the report is a web page", (".html", ".htm")),
}


def find_wrong_ending(output: str, path: PurePath) -> tuple[str, str] | None:
    """Return an output's format, in words, and the ending that it needs; None: the name fits."""
    words, endings = _OTHERS.get(output, _GEOTIFF)
    return None if path.suffix.lower() in endings else (words, endings[0])
