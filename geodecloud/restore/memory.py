"""Divide a run so that it fits into memory; the result does not depend on how."""

from dataclasses import dataclass, replace

from geodecloud.errors import UsageError
from geodecloud.restore.windows import WindowGrid
from geodecloud.settings import MIB, Limits

# Measured as the peak resident memory of runs that differ in one thing, so that what the C library
# keeps for itself is in it.
_PROGRAM = 330 * MIB  # Python, PyTorch, GDAL and the default model
_CACHE = 1 / 16  # of the memory is GDAL's: a row of blocks of the input, one of the output
_DECODING = 3 / 32  # of the memory is for rows that are decoded at once, where they are kept
_KEEPING = 1 / 2  # of the memory that is left over is for kept rows
_PER_PATCH_PIXEL = 1000  # bytes of the network's layers
_PER_STRIP_PIXEL = 140  # bytes of model range, change, opacity, blend, composite
_COARSE_ROWS = 4 * 64  # of the scene under a row of windows of the coarse pass
_PER_COARSE_ROW_PIXEL = 60  # bytes of light, its means, and the rows that wait to be surveyed
_SEARCH = 0.5  # of the coarse answer's bytes, for the shadows and veils that are searched for in it
_DN_COPIES = 9  # of a strip: read, waiting, being restored, being written
_BLOCK_ROWS = 1.9  # rows of blocks of the output in hand: one put together, one written
_PER_BLOCK_PIXEL = 3  # bytes beside the DN: provenance, opacity and shadow
_SWATCHES = 10 * MIB  # of visible land, see swatches.py
_DETAILS = 24 * MIB  # made of them, see texture.py
# Bytes for each cell of the land, see ground.py: its colours, to gather and to spread; and a
# reference's beside them, to gather and to match.
_GATHER, _SPREAD = 16, 70
_GATHER_BOTH, _MATCH = 28, 150
_PER_FILLED_PIXEL = 60  # of the rows that a thread fills
FILLED_ROWS = 64  # at once, by one thread; a swatch is as high
FILLING = 2  # threads at most that fill
CALLS = 2  # of the network at once, so that it never waits
_BATCHES = CALLS + 2  # asked; and one waiting, one answered
_PATCH_PIXELS = 8 * 64 * 64  # of a grain, where they are small enough
_FEW, _SMALL = 128, (4, 8)  # windows of a pass, below which its grains are of so many
_CALL = 0.25  # cost of a call of the network, in windows

_MOST_ROWS = 512  # of a strip; more would save nothing


def cache_bytes(limits: Limits) -> int:
    """Return the size of GDAL's block cache."""
    return int(limits.max_memory * _CACHE)


@dataclass(frozen=True)
class MemoryPlan:
    """The division of a run.

    rows_of_windows: in a swath.
    batch_size: windows per call of the network.
    threads: that compute windows side by side.
    bytes: the most memory that the process will need, kept rows aside.
    decoding, keeping: bytes for the rows that are kept for the fine pass, see ``Scene.keep_rows``.
    """

    rows_of_windows: int = 1
    batch_size: int = 32
    threads: int = 1
    bytes: int = 0
    decoding: int = 96 * MIB
    keeping: int = 0


@dataclass(frozen=True)
class Footprint:
    """The facts about a scene that decide how much memory a run needs.

    width: in pixels.
    bytes_per_pixel: of all bands.
    block_row: pixels of a row of blocks of the output.
    cells: number of cells of the ground, see :func:`geodecloud.restore.fill.ground.cell_size`.
    coarse: bytes of the coarse answer, see :mod:`geodecloud.restore.coarse`.
    references: number of references.
    others: number of bands that are restored beside red, green and blue.
    """

    width: int
    bytes_per_pixel: int
    block_row: int
    cells: int = 0
    coarse: int = 0
    references: int = 0
    others: int = 0

    @property
    def more(self) -> float:
        """Restored bands for each of red, green and blue."""
        return 1 + self.others / 3


def grain(window: int) -> int:
    """Return how many windows the network computes together: a grain.

    It depends on the window alone: a patch's answer may change in its last bits with the number of
    patches beside it, and the same scene must give the same bytes. A pass over few windows has a
    smaller one, see :func:`fitting_grain`.
    """
    return max(1, _PATCH_PIXELS // window**2)


def fitting_grain(windows: int, most: int) -> int:
    """Return the grain of a pass over so many windows: the last one is padded as little as may be.

    Like :func:`grain`, it depends on the scene alone.
    """
    if windows >= _FEW:
        return most
    least, largest = (max(1, min(size, windows, most)) for size in _SMALL)
    return min(range(least, largest + 1), key=lambda size: -(-windows // size) * (size + _CALL))


def side_by_side(window: int, limits: Limits) -> int:
    """Return how many grains are computed at once: one in each thread, as far as batches reach."""
    return min(limits.thread_count, CALLS * -(-limits.windows_per_call // grain(window)))


def _network_bytes(window: int, limits: Limits) -> int:
    """Return the bytes of the windows that the network computes or that wait for it."""
    computed = side_by_side(window, limits) * grain(window) * _PER_PATCH_PIXEL
    # Float32, 8 channels in and 5 out. Measured as 10: not all batches are whole at once.
    waiting = _BATCHES * limits.windows_per_call * 10 * 4
    return (computed + waiting) * window**2


def needed_bytes(
    rows_of_windows: int, footprint: Footprint, grid: WindowGrid, limits: Limits
) -> int:
    """Return the most bytes that a run needs at once."""
    network = _network_bytes(grid.size, limits)
    rows = (rows_of_windows - 1) * grid.stride + grid.size
    strips = footprint.width * rows * (_PER_STRIP_PIXEL + _DN_COPIES * footprint.bytes_per_pixel)
    more = footprint.more
    coarse_row = footprint.width * _COARSE_ROWS * _PER_COARSE_ROW_PIXEL
    surveying = round(more * (coarse_row + footprint.cells * _GATHER))
    # The coarse pass has windows of its own, unless its answer is fine already.
    coarse_pass = max(network, _network_bytes(WindowGrid().size, limits)) + surveying
    # The network rests while shadows and veils are searched for, and while the land is spread.
    searching = surveying + round(_SEARCH * footprint.coarse)
    details = round(more * _DETAILS)
    match = _MATCH if footprint.references else 0
    spreading = round(more * footprint.cells * max(_SPREAD, _GATHER + match)) + details
    filling = min(limits.thread_count, FILLING) * FILLED_ROWS * footprint.width
    fine_pass = network + strips + details + round(more * filling * _PER_FILLED_PIXEL)
    blocks = _BLOCK_ROWS * footprint.block_row * (footprint.bytes_per_pixel + _PER_BLOCK_PIXEL)
    always = _PROGRAM + cache_bytes(limits) + round(blocks) + round(more * _SWATCHES)
    always += footprint.coarse
    always += round(more * footprint.references * footprint.cells * _GATHER_BOTH)
    return always + max(coarse_pass, searching, spreading, fine_pass)


def plan_memory(footprint: Footprint, grid: WindowGrid, limits: Limits) -> MemoryPlan:
    """Plan the largest swath that fits into memory; where none does, fewer windows per call.

    Raises:
        UsageError: not even one row of windows fits, with one grain per call.
    """
    rows = max(1, (_MOST_ROWS - grid.overlap) // grid.stride)
    least = min(limits.windows_per_call, grain(grid.size))
    while (needed := needed_bytes(rows, footprint, grid, limits)) > limits.max_memory:
        if rows > 1:
            rows -= 1
        elif limits.windows_per_call > least:
            limits = replace(limits, batch_size=max(least, limits.windows_per_call // 2))
        else:
            raise UsageError(
                f"`max_memory` is {limits.max_memory / MIB:.0f} MiB: this scene needs "
                f"{needed / MIB:.0f} MiB; allow that, or take a smaller `window`, fewer "
                "`threads` or a part of it (`aoi`)"
            )
    return MemoryPlan(
        rows_of_windows=rows,
        batch_size=limits.windows_per_call,
        threads=side_by_side(grid.size, limits),
        bytes=needed,
        decoding=int(limits.max_memory * _DECODING),
        keeping=int((limits.max_memory - needed) * _KEEPING),
    )
