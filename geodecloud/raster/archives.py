"""Refuse archives that cannot be read in place, and zips that are damaged."""

import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from geodecloud.errors import SceneError

_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_PRODUCT = re.compile(r"(?:.*/)?MTD_MSIL(?:1C|2A)\.xml")
_ZIPPED = re.compile(r"/vsizip/(.+?\.zip)/(.+)", re.IGNORECASE)
_NO_FILE = re.compile(r"/vsizip/(.+?\.zip)(?:/[^/]+\.SAFE)?/?", re.IGNORECASE)
_AT_ONCE = 1 << 20  # bytes


def refuse_archive(name: str) -> None:
    """Refuse an archive other than a zip of one Sentinel-2 product.

    Raises:
        SceneError: ``name`` is such an archive, which GDAL would call a damaged raster.
    """
    if (inside := _NO_FILE.fullmatch(name)) and Path(inside[1]).is_file():
        raise SceneError(f"{name}: is a zip of a product; give {inside[1]}")
    if not Path(name).is_file():
        return
    packed = name.lower().endswith(_ARCHIVES)
    if name.lower().endswith(".zip") and zipfile.is_zipfile(name):
        try:
            with zipfile.ZipFile(name) as archive:
                members = archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise SceneError(f"{name}: damaged zip ({error}); download it again") from error
        products = sum(map(bool, map(_PRODUCT.fullmatch, members)))
        if products > 1:
            raise SceneError(f"{name}: holds {products} products; unpack it, and give one of them")
        packed = not any("MTD_" in member for member in members)
    if packed:
        raise SceneError(f"{name}: is an archive; unpack it, and give its file or folder")


def refuse_damaged(files: Iterable[str]) -> None:
    """Refuse files in a zip whose checksums say that they are damaged; GDAL does not check.

    Args:
        files: names that GDAL opens; only those in a zip are checked.

    Raises:
        SceneError: a file is damaged.
    """
    for file in files:
        if not (match := _ZIPPED.fullmatch(file)) or not Path(match[1]).is_file():
            continue
        with zipfile.ZipFile(match[1]) as archive:
            try:
                with archive.open(match[2]) as data:
                    while data.read(_AT_ONCE):
                        pass
            except (KeyError, NotImplementedError):  # GDAL says what is missing
                continue
            except (zipfile.BadZipFile, zlib.error, EOFError) as error:
                raise SceneError(f"{match[1]}: {error}; download it again") from error
