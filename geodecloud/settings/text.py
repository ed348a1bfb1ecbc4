"""Read text files in the encodings that Windows and PowerShell write."""

import codecs
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes) -> str:
    """Return bytes as text: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        UnicodeDecodeError: the bytes are in another encoding.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    return data.decode(encoding)


def read_text(path: Path) -> str:
    """Return a file as text, see :func:`decode`.

    Raises:
        OSError: the file cannot be read.
        UnicodeDecodeError: the file is in another encoding.
    """
    return decode(path.read_bytes())
