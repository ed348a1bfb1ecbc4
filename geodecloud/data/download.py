"""Download the published EuroSAT archive, and resume a broken download.

The package pooch is not used: after a broken connection it would start again.
"""

import hashlib
import http.client
import logging
import re
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from geodecloud.errors import DataError, UsageError

log = logging.getLogger("geodecloud")

URL = "https://zenodo.org/records/7711810/files/EuroSAT_RGB.zip?download=1"
MD5 = "f46e308c4d50d4bf32fedad2d3d62f3b"  # from the record on Zenodo
TIMEOUT = 30.0  # seconds without a byte
_DIGITS = {"md5": 32, "sha256": 64}  # hexadecimal digits of each checksum
_CHUNK = 1 << 16  # bytes


def download_eurosat(
    folder: Path, url: str = URL, checksums: Mapping[str, str] | None = None
) -> Path:
    """Download the archive into a folder, unless it is there, and return its path.

    The bytes of a broken download stay beside it as ``.part``, and the next download resumes from
    there if the server can. The archive appears under its name only after it is checked.

    Args:
        folder: made if it does not exist.
        checksums: "md5" or "sha256" and its value. None: the published archive's MD5; for another
            ``url``, the checksums that a zip file holds of each file in it.

    Raises:
        DataError: the archive cannot be downloaded, or its checksum is wrong.
        UsageError: ``url`` is no address, or a checksum is malformed.
    """
    name = _name(url)
    if not checksums:
        checksums = {"md5": MD5} if url == URL else {}
    checksums = {kind: _plain(kind, value) for kind, value in checksums.items()}
    path = folder / name
    if path.exists():
        if flaw := _flaw(path, checksums):
            raise DataError(f"{path}: exists, but {flaw}; move it away and run again")
        log.info("%s: exists and is complete", path)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    _fetch(url, part)
    if flaw := _flaw(part, checksums):
        part.unlink()  # otherwise the next run would resume it
        raise DataError(f"{url}: {flaw}; the download was removed; run again, or change `url`")
    part.replace(path)
    return path


def _name(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        parts = urllib.parse.SplitResult("", "", "", "", "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"`url` is {url!r}: give an address like https://host/EuroSAT_RGB.zip")
    name = PurePosixPath(urllib.parse.unquote(parts.path)).name
    return name if name.lower().endswith(".zip") else "EuroSAT_RGB.zip"


def _plain(name: str, value: str) -> str:
    """Return a checksum as hexadecimal digits alone; Zenodo writes ``md5:`` before them."""
    digits = value.strip().lower().removeprefix(f"{name}:")
    if not re.fullmatch(rf"[0-9a-f]{{{_DIGITS[name]}}}", digits):
        raise UsageError(f"`{name}` is {value!r}: give {_DIGITS[name]} hexadecimal digits")
    return digits


def _flaw(path: Path, checksums: Mapping[str, str]) -> str | None:
    """Return the fault of a file, in words; None: it has none."""
    for name, wanted in checksums.items():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if found != wanted:
            return f"its {name} is {found}, not {wanted}"
    if checksums:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        return f"it is not a complete zip file ({error})"
    return f"its file {damaged} is damaged" if damaged else None


def _fetch(url: str, part: Path) -> None:
    """Download a file, trying again as long as each try brings some bytes."""
    while True:
        before = _size(part)
        try:
            return _resume(url, part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            have = _size(part)
            if have > before:
                log.info("%s: %s; resuming", url, error)
                continue
            reason = error if isinstance(error, urllib.error.HTTPError) else _reason(error)
            remedy = f"run again to resume after {have} bytes" if have else "check or change `url`"
            raise DataError(f"{url}: {reason}; {remedy}") from error


def _reason(error: Exception) -> object:
    return getattr(error, "reason", None) or error or type(error).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _resume(url: str, part: Path) -> None:
    """Download the missing bytes of a file."""
    have = _size(part)
    headers = {"User-Agent": "geodecloud"} | ({"Range": f"bytes={have}-"} if have else {})
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - http(s) only, see above
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        if not have or error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # The server has no more bytes: the part is whole, or it is of another file.
        error.close()
        if error.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()
            _resume(url, part)
        return
    with response:
        start, total = _extent(response)
        if start not in (0, have):
            part.unlink()
            raise ConnectionError(f"the server sent bytes from {start}, not from {have}")
        with part.open("ab" if start else "wb") as file:
            _copy(response, file, start, total)
    if total is not None and _size(part) < total:
        raise ConnectionError(f"the connection broke off at {_size(part)} of {total} bytes")


def _extent(response: Any) -> tuple[int, int | None]:
    """Return the first byte of a response, and the size of the whole file if it is known."""
    if response.status == HTTPStatus.PARTIAL_CONTENT:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not found:
            raise ConnectionError("the server sent a part of the file without its position")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _copy(response: Any, file: Any, start: int, total: int | None) -> None:
    """Copy a response into a file, under a progress bar."""
    with tqdm(
        total=total, initial=start, unit="B", unit_scale=True, leave=False, disable=None
    ) as bar:
        while chunk := response.read1(_CHUNK):  # read() would lose the bytes before a stall
            file.write(chunk)
            bar.update(len(chunk))
