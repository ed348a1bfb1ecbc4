"""Draw scenes, provenance and indices with Matplotlib, for all notebooks."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

plt.rcParams["font.size"] = 12
WHITE = 0.275  # reflectance that is drawn as white
RGB = [2, 1, 0]  # where the sample, B02 B03 B04 B08, has red, green and blue
GREY = "0.35"  # nodata, as in the colours of the provenance
LEGEND = {
    0: "measured",
    50: "restored, by degree",
    100: "restored fully",
    101: "filled: invented",
    110: "from another date",
    255: "nodata",
}


def read(path: Path | str) -> NDArray[Any]:
    """Return all bands of a raster: (bands, rows, columns)."""
    with rasterio.open(path) as raster:
        dn: NDArray[Any] = raster.read()
        return dn


def panels(
    count: int, columns: int = 0, size: tuple[float, float] = (4.2, 4.6)
) -> tuple[Figure, list[Axes]]:
    """Return a figure and the axes of its panels, without ticks.

    Args:
        columns: panels side by side; 0: all.
        size: of a panel, width and height in inches.
    """
    columns = columns or count
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(size[0] * columns, size[1] * rows),
        layout="constrained",
        squeeze=False,
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure, list(axes.flat)


def show_colours(
    axis: Axes, rgb: NDArray[Any], title: str, metres: float = 10
) -> None:
    """Draw red, green and blue, DN = reflectance x 10000, with a scale bar.

    Args:
        rgb: (3, rows, columns); 0 is nodata.
        metres: size of a pixel.
    """
    picture = np.clip(rgb / 10_000 / WHITE, 0, 1).transpose(1, 2, 0)
    picture[(rgb == 0).any(axis=0)] = float(GREY)
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(title)
    rows, columns = rgb.shape[1:]
    kilometres = 1 if columns * metres > 2500 else 0.5
    left, bottom, length = (
        0.03 * columns,
        0.96 * rows,
        1000 * kilometres / metres,
    )
    axis.plot(
        [left, left + length], [bottom, bottom], color="white", linewidth=3
    )
    axis.text(
        left,
        bottom - 0.02 * rows,
        f"{kilometres:g} km",
        color="white",
        fontweight="bold",
    )


def show_provenance(
    axis: Axes, path: Path | str, title: str = "Provenance"
) -> None:
    """Draw a provenance raster in its own colours, with a legend below."""
    with rasterio.open(path) as raster:
        codes, table = raster.read(1), raster.colormap(1)
    colours = np.array([table[code] for code in range(256)]) / 255
    colours[:, 3] = (
        1  # "measured" is transparent in the file, and drawn black here
    )
    axis.imshow(
        codes,
        cmap=ListedColormap(colours),
        vmin=0,
        vmax=255,
        interpolation="nearest",
    )
    axis.set_title(title)
    there = {
        code: text for code, text in LEGEND.items() if _is_there(code, codes)
    }
    patches = [
        Patch(color=colours[code], label=text) for code, text in there.items()
    ]
    axis.legend(handles=patches, **_BELOW)


def _is_there(code: int, codes: NDArray[np.uint8]) -> bool:
    if code == 50:
        return bool(((codes > 0) & (codes < 100)).any())
    return bool((codes == code).any())


_BELOW: dict[str, Any] = {
    "loc": "upper center",
    "bbox_to_anchor": (0.5, -0.01),
    "ncols": 2,
    "fontsize": "small",
    "frameon": False,
}


def show_values(
    axis: Axes,
    values: NDArray[Any],
    title: str,
    limits: tuple[float, float],
    colours: str,
) -> Any:
    """Draw values, NaN in grey; return the image, for a colour bar."""
    axis.set_facecolor(GREY)
    image = axis.imshow(
        values,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
        interpolation="nearest",
    )
    axis.set_title(title)
    return image


def note_grey(axis: Axes, text: str, frame: str = "") -> None:
    """Write below a panel what grey means, and a black frame if any."""
    patches = [Patch(color=GREY, label=text)]
    if frame:
        patches.append(
            Patch(fill=False, edgecolor="black", linewidth=1.5, label=frame)
        )
    axis.legend(handles=patches, **_BELOW | {"ncols": 1})
