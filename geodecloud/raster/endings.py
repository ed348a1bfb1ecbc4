"""Check that the name of an output fits its format."""

from pathlib import PurePath

from geodecloud.errors import UsageError

GEOTIFF = (".tif", ".tiff")
_OTHERS = {  # by the field of the settings that names the output
    "preview": ("the preview is a PNG", (".png",)),
    "report": ("the report is a web page", (".html", ".htm")),
}


def find_wrong_ending(output: str, path: PurePath) -> tuple[str, str] | None:
    """Return an output's format, in words, and the ending that it needs; None: the name fits."""
    words, endings = _OTHERS.get(output, ("the output is a GeoTIFF", GEOTIFF))
    return None if path.suffix.lower() in endings else (words, endings[0])


def refuse_wrong_ending(output: str, path: PurePath) -> None:
    """Refuse the name of an output that does not fit its format.

    Raises:
        UsageError: the name has another ending.
    """
    if wrong := find_wrong_ending(output, path):
        raise UsageError(f"{path}: {wrong[0]}; name it {wrong[1]}")
