"""Check the boxes of a JP2 file before GDAL reads them: damaged ones make it loop for ever.

Standard library only. ISO/IEC 15444-1, annex I: a box has a length (4 bytes), a type (4) and, if
the length is 1, a longer length (8). A last box of length 0 reaches to the end of the file.
"""

from pathlib import Path
from typing import BinaryIO

from geodecloud.errors import SceneError

_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_PARENTS = (b"jp2h", b"res ", b"asoc", b"uinf")  # boxes that hold boxes
_HEADER, _LONG_HEADER = 8, 16  # bytes


def refuse_damaged_boxes(file: Path, label: str) -> None:
    """Refuse a JP2 file with a damaged box within a box; ignore files of other formats.

    Raises:
        SceneError: a box is damaged.
    """
    try:
        if not file.is_file():  # opening a pipe would block
            return
        with file.open("rb") as opened:
            if opened.read(len(_SIGNATURE)) != _SIGNATURE:
                return
            whole = _are_whole(opened, 0, file.stat().st_size, strict=False)
    except (OSError, ValueError):  # unreadable: GDAL has the better message
        return
    if not whole:
        raise SceneError(
            f"{label}: damaged JP2: a box in its header does not end where it should; copy or "
            "download it again"
        )


def _are_whole(file: BinaryIO, start: int, end: int, *, strict: bool) -> bool:
    """Return whether the lengths of all boxes between two positions fit.

    Args:
        strict: allow no other bytes between the positions; a file may end with some.
    """
    while end - start >= _HEADER:
        file.seek(start)
        header = file.read(_LONG_HEADER)
        length, kind, least = int.from_bytes(header[:4]), header[4:_HEADER], _HEADER
        if length == 1:
            length, least = int.from_bytes(header[_HEADER:]), _LONG_HEADER
        elif length == 0 and not strict:
            length = end - start
        if not least <= length <= end - start:
            return not strict
        if kind in _PARENTS and not _are_whole(file, start + least, start + length, strict=True):
            return False
        start += length
    return start == end or not strict
