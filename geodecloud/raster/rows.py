"""Carry rows of a scene from reading to writing, and cut them into portions."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from geodecloud.errors import OutputError

Floats = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True)
class Rows:
    """Some rows of a scene; a field is None before the stage that sets it and after its last use.

    first: the first row.
    dn: (bands, rows, width), the file's dtype, as read.
    valid: bool (rows, width), where red, green and blue have data.
    change: float32 (3, rows, width), restored minus input in model range, by the network.
    opacity: float32 (rows, width), 0..1, by the network, then as screened.
    shadow: float32 (rows, width), 0..1, of a cloud, by the network; None where it finds none.
    windows, windows_skipped: windows that end in these rows, and those not computed.
    fill_weight: float32 (rows, width), 0..1, weight of the fill's colour.
    fringe: float32 (rows, width), 0..1, how far the other bands keep their own values beside
        opaque cloud; None: there are no other bands.
    out: (bands, rows, width), dtype of ``dn``, the output's DN.
    provenance: uint8 (rows, width).
    columns: slices outside of which there is neither cloud nor shadow, so that no pixel changes;
        None: all columns.
    percent: uint8 (2, rows, width), opacity and shadow in percent, 255 is nodata; None: not wanted.
    classes: uint8 (rows, width), classes of the cloud mask; None: not wanted.
    """

    first: int
    dn: NDArray[Any]
    valid: NDArray[np.bool_]
    change: Floats | None = None
    opacity: Floats | None = None
    shadow: Floats | None = None
    windows: int = 0
    windows_skipped: int = 0
    columns: tuple[slice, ...] | None = None
    fill_weight: Floats | None = None
    fringe: Floats | None = None
    out: NDArray[Any] | None = None
    provenance: NDArray[np.uint8] | None = None
    percent: NDArray[np.uint8] | None = None
    classes: NDArray[np.uint8] | None = None

    @property
    def last(self) -> int:
        """The row after the last one of these rows."""
        return self.first + len(self.valid)

    @property
    def changing(self) -> tuple[slice, ...]:
        """The columns in which pixels may change."""
        return (slice(0, self.valid.shape[1]),) if self.columns is None else self.columns

    def part(self, start: int, stop: int, columns: slice | None = None) -> "Rows":
        """Return rows ``start`` to ``stop`` (not included) of these rows, as views.

        Args:
            columns: columns of the part, all of which may change; None: all columns.
        """
        part = (..., slice(start, stop), columns or slice(None))
        arrays = {name: array[part] for name, array in _arrays(self).items()}
        more: dict[str, Any] = {"columns": None} if columns else {}
        return dataclasses.replace(self, first=self.first + start, **arrays, **more)

    def pieces(self, height: int) -> Iterator["Rows"]:
        """Yield parts of ``height`` rows, so that computing on them needs little memory."""
        for start in range(0, len(self.valid), height):
            yield self.part(start, start + height)


def given(value: T | None) -> T:
    """Return a field that an earlier stage has set."""
    assert value is not None, "a stage is missing before this one"  # noqa: S101
    return value


def _arrays(rows: Rows) -> dict[str, Any]:
    """Return the arrays that are set, by field name."""
    return {name: value for name, value in vars(rows).items() if isinstance(value, np.ndarray)}


def save_rows(rows: Rows, file: IO[bytes], folder: Path) -> None:
    """Write rows at the end of a temporary file.

    Args:
        folder: the file's folder, for the message.

    Raises:
        OutputError: the rows cannot be written, for example because the disk is full.
    """
    arrays = _arrays(rows)
    try:
        numbers = (rows.first, rows.windows, rows.windows_skipped)
        np.save(file, np.array([*numbers, *map(_FIELDS.index, arrays)]))
        np.save(file, np.array([(some.start, some.stop) for some in rows.changing], np.int64))
        for array in arrays.values():
            np.save(file, array)
    except OSError as error:
        raise OutputError(
            f"{folder}: no room for the rows that wait to be filled ({error}); free space and "
            "run again, or leave `fill_limit` out"
        ) from error


def load_rows(file: IO[bytes]) -> Rows:
    """Return the next rows of a file that :func:`save_rows` has written."""
    first, windows, skipped, *fields = np.load(file).tolist()
    columns = tuple(slice(start, stop) for start, stop in np.load(file).tolist())
    arrays = {_FIELDS[number]: np.load(file) for number in fields}
    return Rows(first=first, windows=windows, windows_skipped=skipped, columns=columns, **arrays)


_FIELDS = [field.name for field in dataclasses.fields(Rows)]
