"""Write the article's data set: clear tiles, and the same tiles under its clouds.

The clouds are the article's own, made by the ``noise`` library; training makes them on the fly in
:mod:`geodecloud.data.article`.
"""

import csv
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geodecloud.data.eurosat import ReadTile, find_eurosat, spread
from geodecloud.data.tiles import TILE, BadFiles, OnBad
from geodecloud.errors import DataError, GeodecloudError, OutputError

SCALES = (5.0, 120.0)  # pixels in a cell of the coarsest octave
OCTAVES = 12
PERSISTENCE, LACUNARITY = 0.5, 2.0  # each octave is half as strong and twice as fine
# The settings of EuroSAT's own JPEGs: a multispectral tile becomes the file that was published.
_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 100, "optimize": True, "subsampling": 2}
_COLUMNS, _GAP, _ZOOM = 8, 4, 2  # of the preview


def article_noise(scale: float, size: int = TILE) -> NDArray[np.float64]:
    """Return fractal Perlin noise from the origin, normalised to 0..1 over the tile.

    Args:
        scale: pixels in a cell of the coarsest octave.
        size: of the tile, in pixels.

    Returns:
        float64 (size, size); its smallest value is 0, its largest 1.

    Raises:
        GeodecloudError: the ``noise`` library is not installed.
    """
    pnoise2 = _noise_library()
    noise = np.array(
        [
            [
                pnoise2(
                    row / scale,
                    column / scale,
                    octaves=OCTAVES,
                    persistence=PERSISTENCE,
                    lacunarity=LACUNARITY,
                )
                for column in range(size)
            ]
            for row in range(size)
        ]
    )
    normalised: NDArray[np.float64] = (noise - noise.min()) / (noise.max() - noise.min())
    return normalised


def mix(
    clear: NDArray[np.float64], noise: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Return the tile under the article's cloud: (1 - alpha) * clear + alpha * noise.

    Args:
        clear: (3, rows, columns), the picture in 0..1 (its 8-bit values / 255).
        noise: (rows, columns), 0..1, the same for all bands.
        alpha: 0..1.
    """
    return (1 - alpha) * clear + alpha * noise


def _noise_library() -> Callable[..., float]:
    try:
        from noise import pnoise2
    except ImportError as error:
        raise GeodecloudError(
            "the noise library is not installed: pip install 'geodecloud[train]'"
        ) from error
    function: Callable[..., float] = pnoise2
    return function


def prepare(
    root: Path, out: Path, *, seed: int = 231, limit: int | None = None, on_bad: OnBad = "error"
) -> int:
    """Write the article's data set; the folder appears whole or not at all.

    ``all_targets/1.jpg`` to ``N.jpg`` are the tiles of all classes, sorted by class and name.
    ``all_inputs/`` holds the same tiles under clouds, ``tiles.csv`` lists the tile and the cloud
    of each number, ``preview.png`` shows some. The cloud of a number depends on (seed, number)
    only.

    Args:
        root: EuroSAT, as for :func:`geodecloud.data.eurosat.find_eurosat`.
        out: an empty or a new folder.
        seed: of scale (5 to 120 pixels) and alpha (0 to 1), both uniform.
        limit: write at most so many tiles, evenly spread over the classes.
        on_bad: treatment of a damaged tile: "error", or "skip" it.

    Returns:
        N, the number of tiles.

    Raises:
        DataError: there are no tiles, or a tile is damaged.
        OutputError: ``out`` is not empty.
        GeodecloudError: the ``noise`` library is not installed.
    """
    _noise_library()
    source = find_eurosat(root)
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out}: exists already; name an empty or a new folder")
    exists = out.exists()
    out.parent.mkdir(parents=True, exist_ok=True)
    bad = BadFiles(on_bad)
    # Within a folder that exists, since it may be a file system of its own; otherwise beside it.
    parent = out if exists else out.parent
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{out.name}.") as beside:
        made = Path(beside) / out.name
        count = _write_tiles(made, source.read(spread(source.files, limit), bad), seed)
        if not count:
            raise DataError(f"{root}: all of its {len(bad.names)} tiles are damaged")
        _preview(made, count)
        if exists:
            for part in sorted(made.iterdir()):
                part.rename(out / part.name)
        else:
            made.rename(out)
    return count


def _write_tiles(folder: Path, tiles: Iterator[ReadTile], seed: int) -> int:
    """Write targets, inputs and the table of the tiles; return their number."""
    targets, inputs = folder / "all_targets", folder / "all_inputs"
    targets.mkdir(parents=True)
    inputs.mkdir()
    number = 0
    with (folder / "tiles.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("number", "tile", "scale", "alpha"))
        for number, tile in enumerate(tiles, start=1):
            scale, alpha = _draw(seed, number)
            cloudy = mix(tile.pixels / 255, article_noise(scale), alpha)
            # A JPEG is copied as it is: nothing is lost.
            target = tile.data if tile.file.is_jpeg else _jpeg(tile.pixels)
            (targets / f"{number}.jpg").write_bytes(target)
            (inputs / f"{number}.jpg").write_bytes(_jpeg(np.rint(cloudy * 255).astype(np.uint8)))
            table.writerow((number, tile.file.name, scale, alpha))
    return number


def _draw(seed: int, number: int) -> tuple[float, float]:
    rng = np.random.default_rng([seed, number])
    return float(rng.uniform(*SCALES)), float(rng.uniform())


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture, uint8 (3, rows, columns), as the bytes of a JPEG."""
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).save(data, **_JPEG)
    return data.getvalue()


def _preview(made: Path, count: int) -> None:
    """Write ``preview.png``: some inputs in a row, their targets below."""
    numbers = np.unique(np.linspace(1, count, _COLUMNS).round().astype(int))
    step = TILE * _ZOOM + _GAP
    figure = Image.new("RGB", (len(numbers) * step - _GAP, 2 * step - _GAP), "white")
    for row, folder in enumerate(("all_inputs", "all_targets")):
        for column, number in enumerate(numbers):
            with Image.open(made / folder / f"{number}.jpg") as tile:
                zoomed = tile.resize((TILE * _ZOOM, TILE * _ZOOM), Image.Resampling.NEAREST)
            figure.paste(zoomed, (column * step, row * step))
    figure.save(made / "preview.png")
