"""Keep the rows of a scene that is slow to decode, so that no part of it is decoded twice.

Both passes read a scene from the top down, fewer rows at a time than a tile of JPEG 2000 is high.
GDAL's cache does not hold a row of such tiles of all bands: each would be decoded several times in
each pass. Here whole rows of tiles are decoded once, and kept in memory or in an unnamed temporary
file. Where there is no room for that, rows are decoded when they are read.
"""

import io
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.vrt import WarpedVRT

from geodecloud.errors import RoomWarning, warn
from geodecloud.raster.layout import Layout
from geodecloud.raster.vrt_sources import is_remote

Decoded = tuple[NDArray[Any], NDArray[np.bool_]]  # DN (bands, rows, width), validity (rows, width)
# Decodes some bands, counted from 1, of the rows from the first to the last (not included).
Decode = Callable[[int, int, Sequence[int]], Decoded]

# In rasterio's GDAL, these take 40 ns of processor time or more per DN; Deflate, LZW, ZSTD, LERC
# and WebP take 3 to 8. Writing a DN to a file and reading it back takes 2.
_JPEG_2000 = (".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".jpc")
_SLOW_COMPRESSIONS = ("jpeg2000", "lzma")
_LEAST_ROWS = 1024  # decoded at once, where blocks are lower; the tiles of a VRT are not known
_LEAST_CUT = 64  # rows decoded at once even if a row of blocks takes too much memory
_PART_OF_ROOM = 1 / 6  # most of the temporary folder's free space to use; outputs need some, too


def is_slow(files: Sequence[str], layout: Layout) -> bool:
    """Return whether decoding takes much longer than writing DN to a file and reading them back.

    JPEG 2000, also in a VRT, LZMA and files on the network are slow.
    """
    return (
        layout.compression in _SLOW_COMPRESSIONS
        or any(Path(file).suffix.lower() in _JPEG_2000 for file in files)
        or any(map(is_remote, files))
    )


@dataclass(frozen=True)
class Portions:
    """The division of a scene into portions that are decoded at once.

    ends: the row after each portion, from the top down.
    bands: groups of bands, counted from 1, that are decoded one after another.
    """

    ends: Sequence[int]
    bands: Sequence[Sequence[int]]

    @classmethod
    def of(cls, dataset: Any, layout: Layout, area: Any, most_bytes: int) -> "Portions":
        """Return portions of whole rows of blocks, or of fewer rows if those take too much memory.

        Args:
            area: the part of the file that is the scene, a ``rasterio.windows.Window``.
            most_bytes: most memory of a portion.
        """
        # Bands that share blocks are decoded together.
        common = layout.interleave != "band" or layout.driver == "VRT"
        common |= isinstance(dataset, WarpedVRT)
        groups = [dataset.indexes] if common else [[band] for band in dataset.indexes]
        row_bytes = len(groups[0]) * area.width * np.dtype(dataset.dtypes[0]).itemsize
        rows = max(_LEAST_CUT, most_bytes // row_bytes)
        block = layout.block[0]
        if block < rows:
            rows = block * min(-(-_LEAST_ROWS // block), rows // block)
        first = rows - area.row_off % rows
        return cls([*range(first, area.height, rows), area.height], groups)


class KeptRows:
    """The rows of a scene, kept as they are read from the top down, by one thread at a time."""

    def __init__(
        self,
        decode: Decode,
        portions: Portions,
        shape: tuple[int, int, int],
        dtype: Any,
        room: int,
        label: str = "",
    ) -> None:
        """Keep no row yet.

        Args:
            shape: bands, rows and width of the scene.
            room: bytes to use in memory; a scene that needs more is kept in a file.
            label: the scene's name in messages.
        """
        self._decode, self._portions, self._shape, self._label = decode, portions, shape, label
        self._known = 0  # number of rows kept
        self._planes: _Planes | None = None
        with self._or_forget():
            self._planes = _Planes(shape, np.dtype(dtype), room)

    def read(self, first: int, last: int) -> Decoded:
        """Return rows ``first`` to ``last`` (not included)."""
        while self._planes and self._known < last:
            self._keep(self._known, next(end for end in self._portions.ends if end > self._known))
        if self._planes:
            with self._or_forget():
                return self._planes.read(first, last)
        return self._decode(first, last, range(1, self._shape[0] + 1))

    def close(self) -> None:
        """Forget all rows; from now on rows are decoded when they are read."""
        if self._planes:
            self._planes.close()
        self._planes = None

    def _keep(self, first: int, last: int) -> None:
        """Decode and keep a portion; forget all rows if there is no room for it."""
        valid = np.ones((last - first, self._shape[2]), np.bool_)
        for bands in self._portions.bands:
            dn, there = self._decode(first, last, bands)
            valid &= there
            if not self._write(bands, first, dn):
                return
        if self._write([self._shape[0] + 1], first, valid[None]):
            self._known = last

    def _write(self, planes: Sequence[int], first: int, rows: NDArray[Any]) -> bool:
        """Keep rows of some planes, counted from 1; return whether they are kept."""
        with self._or_forget():
            for plane, some in zip(planes, rows, strict=True):
                if self._planes:
                    self._planes.write(plane - 1, first, some)
        return self._planes is not None

    @contextmanager
    def _or_forget(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close()
            warn(
                RoomWarning,
                f"{self._label}: no room to keep decoded rows ({error}), so they are decoded "
                "again, which is slow; free space, or set TMPDIR to another folder",
            )


class _Planes:
    """Bands and validity of a scene, one after the other in memory or in a temporary file."""

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any], room: int) -> None:
        """Open the memory or the file.

        Raises:
            OSError: there is no folder for temporary files, or too little room in it.
        """
        self._shape, self._dtype = shape, dtype
        bands, height, width = shape
        self._checksums = np.zeros((bands + 1, height), np.uint32)  # CRC-32 of each row
        self._bytes = height * width * (bands * dtype.itemsize + 1)
        self._in_memory = self._bytes <= room
        self._refuse_too_little_room()
        self._file: Any = io.BytesIO() if self._in_memory else tempfile.TemporaryFile()  # noqa: SIM115

    def write(self, plane: int, first: int, rows: NDArray[Any]) -> None:
        """Write rows of a band, or of validity: the plane after the last band.

        Raises:
            OSError: there is too little room.
        """
        self._refuse_too_little_room()
        rows = np.ascontiguousarray(rows)
        self._checksums[plane, first : first + len(rows)] = list(map(zlib.crc32, rows))
        self._file.seek(self._position(plane, first))
        self._file.write(rows)
        self._file.flush()

    def read(self, first: int, last: int) -> Decoded:
        """Return rows that were written.

        Raises:
            OSError: the rows cannot be read, or differ from what was written.
        """
        bands, _, width = self._shape
        dn = np.empty((bands, last - first, width), self._dtype)
        valid = np.empty(dn.shape[1:], np.bool_)
        if last == first:
            return dn, valid
        for plane, rows in enumerate([*dn, valid]):
            self._file.seek(self._position(plane, first))
            self._file.readinto(rows)
            if list(map(zlib.crc32, rows)) != self._checksums[plane, first:last].tolist():
                raise OSError("the temporary file is damaged")
        return dn, valid

    def close(self) -> None:
        """Free the memory, or remove the file."""
        with suppress(OSError):  # rows that could not be written are not needed
            self._file.close()

    def _refuse_too_little_room(self) -> None:
        if self._in_memory:
            return
        folder = tempfile.gettempdir()
        free, needed = shutil.disk_usage(folder).free, self._bytes / _PART_OF_ROOM
        if free < needed:
            raise OSError(f"{folder}: {free >> 20} MiB are free, {round(needed) >> 20} needed")

    def _position(self, plane: int, row: int) -> int:
        """Return the position of a row in the file, in bytes."""
        bands, height, width = self._shape
        if plane < bands:
            return (plane * height + row) * width * self._dtype.itemsize
        return (bands * height * self._dtype.itemsize + row) * width
