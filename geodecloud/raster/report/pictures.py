"""Collect the pictures, layers and counts of a report while a scene is written."""

import base64
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geodecloud.errors import OutputError
from geodecloud.radiometry import Radiometry
from geodecloud.raster.preview import picture_of
from geodecloud.raster.provenance import PALETTE, Provenance
from geodecloud.raster.style import Colour

LONGEST = 4000  # pixels of a picture's longer side
_THUMBNAIL = 240
_ROWS = 16  # rows converted at once, so that their float32 need little memory
_PLANES = {"before": 3, "after": 3, "provenance": 1, "opacity": 1, "shadow": 1}  # channels
_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 88, "subsampling": 0}
OPACITY: Colour = (20, 90, 255, 255)
SHADOW: Colour = (110, 0, 160, 255)


def _by_percent(colour: Colour) -> dict[int, Colour]:
    """Return a colour for each percent from 1 to 100, increasingly opaque."""
    red, green, blue, most = colour
    return {
        percent: (red, green, blue, most * (20 + 70 * percent // 100) // 100)
        for percent in range(1, 101)
    }


_PALETTES: dict[str, Mapping[int, Colour]] = {
    "provenance": {code: colour for code, colour in PALETTE.items() if code != Provenance.NODATA},
    "opacity": _by_percent(OPACITY),
    "shadow": _by_percent(SHADOW),
}


class Pictures:
    """Every n-th pixel of a scene, kept in an unnamed file until the ``with`` block ends.

    Args:
        folder: folder of that file.
        shape: (height, width) of the scene.

    Attributes:
        step: n; 1 for a scene of at most ``LONGEST`` pixels a side.
        height, width: size of the pictures.
        codes: int64 (256,), pixels of each provenance code, over the whole scene.
        histograms: int64 (2, 3, 256), of the pictures: before and after; red, green, blue.
        has_shadow: True if a shadow was found.

    Raises:
        OutputError: the file cannot be created or written, for example because the disk is full.
    """

    def __init__(self, folder: Path, shape: tuple[int, int], radiometry: Radiometry) -> None:
        self.step = -(-max(shape) // LONGEST)
        self.height, self.width = (-(-length // self.step) for length in shape)
        self.codes = np.zeros(256, np.int64)
        self.histograms = np.zeros((2, 3, 256), np.int64)
        self.has_shadow = False
        self._folder, self._radiometry = folder, radiometry

    def __enter__(self) -> Self:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(
        self,
        first: int,
        rgb: tuple[NDArray[Any], NDArray[Any]],
        provenance: NDArray[np.uint8],
        percent: NDArray[np.uint8],
    ) -> None:
        """Add rows from ``first`` on, in any order.

        Args:
            rgb: before and after, each R, G, B as DN, (3, rows, width).
            provenance: uint8 (rows, width).
            percent: opacity and shadow in percent, uint8 (2, rows, width).
        """
        for start in range(0, len(provenance), _ROWS):
            rows = slice(start, start + _ROWS)
            before, after = (dn[:, rows] for dn in rgb)
            self._add(first + start, (before, after), provenance[rows], percent[:, rows])

    def _add(
        self,
        first: int,
        rgb: tuple[NDArray[Any], NDArray[Any]],
        provenance: NDArray[np.uint8],
        percent: NDArray[np.uint8],
    ) -> None:
        self.codes += np.bincount(provenance.ravel(), minlength=256)
        pick = (slice(-first % self.step, None, self.step), slice(None, None, self.step))
        codes, (opacity, shadow) = provenance[pick], percent[(slice(None), *pick)]
        valid = codes != Provenance.NODATA
        self.has_shadow |= bool((shadow[valid] > 0).any())
        pictures = [picture_of(dn[(slice(None), *pick)], codes, self._radiometry) for dn in rgb]
        for histogram, picture in zip(self.histograms, pictures, strict=True):
            for channel in range(3):
                histogram[channel] += np.bincount(picture[valid, channel], minlength=256)
        planes = (*pictures, codes, opacity, shadow)
        row = -(-first // self.step)
        try:
            for name, plane in zip(_PLANES, planes, strict=True):
                self._file.seek(self._start(name) + row * self.width * _PLANES[name])
                self._file.write(np.ascontiguousarray(plane).data)
        except OSError as error:
            raise self._failed(error) from error

    def encoded(self, name: str) -> str:
        """Return a picture or a layer as a data URI; only this one is in memory."""
        image = self._image(name)
        if name not in _PALETTES:
            return _data_uri(image, **_JPEG)
        palette = np.zeros((256, 4), np.uint8)
        for value, colour in _PALETTES[name].items():
            palette[value] = colour
        image.putpalette(palette[:, :3].tobytes())
        return _data_uri(image, format="PNG", transparency=palette[:, 3].tobytes())

    def thumbnail(self, name: str) -> str:
        """Return a thumbnail of a picture as a data URI."""
        image = self._image(name)
        image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
        return _data_uri(image, format="JPEG", quality=85)

    def _start(self, name: str) -> int:
        """Return the position of a plane's first byte in the file."""
        names = list(_PLANES)
        before = sum(_PLANES[one] for one in names[: names.index(name)])
        return before * self.height * self.width

    def _image(self, name: str) -> Image.Image:
        channels = _PLANES[name]
        self._file.seek(self._start(name))
        pixels = self._file.read(self.height * self.width * channels)
        mode = "RGB" if channels == 3 else "P"
        return Image.frombytes(mode, (self.width, self.height), pixels)

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self._folder}: no room for the pictures of the report ({error.strerror}); free "
            "space and run again, or leave `report` out"
        )


def _data_uri(image: Image.Image, **how: Any) -> str:
    file = io.BytesIO()
    image.save(file, **how)
    kind = str(how["format"]).lower()
    return f"data:image/{kind};base64,{base64.b64encode(file.getbuffer()).decode('ascii')}"
