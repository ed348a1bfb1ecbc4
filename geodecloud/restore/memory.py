"""Plan the memory of a run; the result does not depend on the plan."""

import math
from dataclasses import dataclass, replace

from geodecloud.errors import UsageError
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import MIB, Limits

# Measured as the peak resident memory of runs that differ in one respect, which includes the
# overhead of the C library.
_PROGRAM = 330 * MIB  # Python, PyTorch, GDAL and the default model
_CACHE = 1 / 16  # of the memory, for GDAL: a row of blocks of the input, one of the output
_DECODING = 3 / 32  # of the memory, for rows that are decoded at once, where rows are kept
_KEEPING = 1 / 2  # of the memory that is left over, for kept rows
_PER_PATCH_PIXEL = 1000  # bytes of the network's layers
_PER_STRIP_PIXEL = 140  # bytes of model range, change, opacity, blend, composite
_FRAGMENTED = 1.5  # a further row of windows in a strip takes more, as memory gets fragmented
_PER_COARSE_ROW_PIXEL = 60  # bytes of light, its means, and rows waiting for the survey
COARSE_ROWS = 256  # rows of the scene that the coarse pass averages at once
_WAITING = 2  # rows of windows of the coarse pass whose DN wait for the survey
_SEARCH = 0.5  # of the coarse answer's bytes, for finding shadows and cloud in it
_HELD = 4  # rows held back until their fringe is known, per pixel by which a cell exceeds 4
_DN_COPIES = 9  # copies of a strip's DN: read, waiting, being restored, being written
_BLOCK_ROWS = 1.9  # rows of blocks of the output in memory: one being filled, one being written
_PER_BLOCK_PIXEL = 3  # bytes besides the DN: provenance, opacity and shadow
_SWATCHES = 10 * MIB  # of visible land, see swatches.py
_DETAILS = 24 * MIB  # made of the swatches, see texture.py
# Bytes for each cell of the visible land, see ground.py: to gather its colours, and to spread them.
# The same for a reference: to gather its colours, too, and to match them.
_GATHER, _SPREAD = 16, 70
_GATHER_OTHER = 8  # to gather one other band
_GATHER_BOTH, _MATCH = 28, 150
_PER_FILLED_PIXEL = 60  # bytes, of the rows that a thread fills
_PER_REFERENCE_PIXEL = 40  # bytes besides these, of a reference in the scene's colours
FILLED_ROWS = 64  # rows that a thread fills at once
FILLING = 2  # most threads that fill
CALLS = 2  # calls of the network at once, so that it never waits
_BATCHES = CALLS + 2  # being computed; one waiting; one computed
_PATCH_PIXELS = 8 * 64 * 64  # pixels of a grain, unless a window has more
_FEW, _SMALL = 128, (4, 8)  # number of windows below which a pass has small grains; their range
_CALL = 0.25  # overhead of a call of the network, in windows

_MOST_ROWS = 512  # rows of a strip; more would save nothing


def cache_bytes(limits: Limits) -> int:
    """Return the size of GDAL's block cache."""
    return int(limits.max_memory * _CACHE)


@dataclass(frozen=True)
class MemoryPlan:
    """The division of a run that fits into memory.

    rows_of_windows: rows of windows in a swath.
    batch_size: windows per call of the network.
    bytes: largest memory of the process, without kept rows.
    decoding, keeping: bytes for the rows that are kept for the fine pass, see ``Scene.keep_rows``.
    """

    rows_of_windows: int = 1
    batch_size: int = 32
    bytes: int = 0
    decoding: int = 96 * MIB
    keeping: int = 0


@dataclass(frozen=True)
class Footprint:
    """The facts about a scene that determine the memory of a run.

    width: in pixels.
    bytes_per_pixel: of all bands together.
    block_row: pixels in a row of blocks of the output.
    cells: number of cells of the ground, see :func:`geodecloud.restore.fill.ground.cell_size`.
    coarse: bytes of the coarse answer, see :func:`geodecloud.restore.coarse.coarse_bytes`.
    cell: pixels along a side of a cell of the coarse pass.
    references: number of references.
    others: number of bands to restore besides red, green and blue.
    """

    width: int
    bytes_per_pixel: int
    block_row: int
    cells: int = 0
    coarse: int = 0
    cell: int = 1
    references: int = 0
    others: int = 0

    @property
    def more(self) -> float:
        """Ratio of all restored bands to red, green and blue."""
        return 1 + self.others / 3


def grain(window: int) -> int:
    """Return the grain, the number of windows that the network computes together.

    The last bits of a patch's answer may vary with the number of patches beside it, and the same
    scene must give the same bytes. So the grain depends on the window's size alone. A pass over few
    windows has a smaller grain, see :func:`fitting_grain`.

    Args:
        window: height and width of a window in pixels.
    """
    return max(1, _PATCH_PIXELS // window**2)


def fitting_grain(windows: int, most: int) -> int:
    """Return the grain of a pass over few windows that pads the last grain least.

    Like :func:`grain`, it depends on the scene alone.

    Args:
        windows: number of windows of the pass.
        most: the grain of a pass over many windows.
    """
    if windows >= _FEW:
        return most
    least, largest = (max(1, min(size, windows, most)) for size in _SMALL)
    return min(range(least, largest + 1), key=lambda size: -(-windows // size) * (size + _CALL))


def side_by_side(window: int, limits: Limits) -> int:
    """Return the number of grains computed at once: one per thread, if the batches hold as many."""
    return min(limits.thread_count, CALLS * -(-limits.windows_per_call // grain(window)))


def _network_bytes(window: int, limits: Limits) -> int:
    """Return the bytes of the windows being computed by the network or waiting for it."""
    computed = side_by_side(window, limits) * grain(window) * _PER_PATCH_PIXEL
    # Float32, 8 channels in and 5 out. Measured as 10: not all batches are whole at once.
    waiting = _BATCHES * limits.windows_per_call * 10 * 4
    return (computed + waiting) * window**2


def needed_bytes(
    rows_of_windows: int, footprint: Footprint, grid: WindowGrid, limits: Limits
) -> int:
    """Return the peak memory of a run in bytes."""
    network = _network_bytes(grid.size, limits)
    rows = (rows_of_windows - 1) * grid.stride * _FRAGMENTED + grid.size
    rows += _HELD * max(0, footprint.cell - 4)
    per_pixel = _PER_STRIP_PIXEL + _DN_COPIES * footprint.bytes_per_pixel
    strips = round(footprint.width * rows * per_pixel)
    more = footprint.more
    coarse_row = footprint.width * COARSE_ROWS * _PER_COARSE_ROW_PIXEL
    # Under windows of large cells lie more rows, but these only wait.
    more_rows = max(0, footprint.cell * WindowGrid().size - COARSE_ROWS) * _WAITING
    coarse_row += footprint.width * more_rows * (footprint.bytes_per_pixel + 1)
    gathered = footprint.cells * (_GATHER + footprint.others * _GATHER_OTHER)
    surveying = round(more * coarse_row) + gathered
    # The coarse pass has windows of its own, unless its answer has full resolution.
    coarse_pass = max(network, _network_bytes(WindowGrid().size, limits)) + surveying
    # The network rests while shadows and cloud are searched for, and while the land is spread.
    searching = surveying + round(_SEARCH * footprint.coarse)
    details = round(more * _DETAILS)
    match = _MATCH if footprint.references else 0
    spreading = gathered + details
    spreading += round(more * footprint.cells * max(_SPREAD - _GATHER, match))
    filling = min(limits.thread_count, FILLING) * FILLED_ROWS * footprint.width
    filled = _PER_FILLED_PIXEL + (_PER_REFERENCE_PIXEL if footprint.references else 0)
    fine_pass = network + strips + details + round(more * filling * filled)
    blocks = _BLOCK_ROWS * footprint.block_row * (footprint.bytes_per_pixel + _PER_BLOCK_PIXEL)
    always = _PROGRAM + cache_bytes(limits) + round(blocks) + round(more * _SWATCHES)
    always += footprint.coarse
    always += round(more * footprint.references * footprint.cells * _GATHER_BOTH)
    return always + max(coarse_pass, searching, spreading, fine_pass)


def plan_memory(footprint: Footprint, grid: WindowGrid, limits: Limits) -> MemoryPlan:
    """Plan the largest swath that fits into memory; if none fits, reduce the windows per call.

    Raises:
        UsageError: even one row of windows, with one grain per call, does not fit.
    """
    rows = max(1, (_MOST_ROWS - grid.overlap) // grid.stride)
    least = min(limits.windows_per_call, grain(grid.size))
    while (needed := needed_bytes(rows, footprint, grid, limits)) > limits.max_memory:
        if rows > 1:
            rows -= 1
        elif limits.windows_per_call > least:
            limits = replace(limits, batch_size=max(least, limits.windows_per_call // 2))
        else:
            enough = math.ceil((needed - cache_bytes(limits)) / (1 - _CACHE) / MIB)
            raise UsageError(
                f"`max_memory` is {limits.max_memory / MIB:.0f} MiB: this scene needs "
                f"{enough} MiB; allow that much, or give a smaller `window`, fewer "
                "`threads`, or a part of the scene by `aoi`"
            )
    return MemoryPlan(
        rows_of_windows=rows,
        batch_size=limits.windows_per_call,
        bytes=needed,
        decoding=int(limits.max_memory * _DECODING),
        keeping=int((limits.max_memory - needed) * _KEEPING),
    )
