"""Choose a varied selection of cloud fields: ``python choose_cloud_fields.py FROM_DIR TO_DIR``.

Each field is described by how much of it is faint, bright and saturated, by the sizes of its
clouds, and by whether they lie in streets. The selection begins with the field nearest to the mean
of all, and takes again and again the field that is least like those already chosen.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MOST_BYTES = 3_640_000  # of all pictures; less than 4 MB on disk, with what file systems add
COVERS = (0.04, 0.2, 0.5, 0.9)  # light above which a pixel counts as covered
# Fields that show ground beside cloud, such as rivers; found by eye.
GROUND = ("006", "007", "009", "014", "015", "018")


def describe(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the features of a field of 512x512, 0..1."""
    covers = [np.sqrt((field > light).mean()) for light in COVERS]
    spectrum = np.abs(np.fft.rfft2(field - field.mean())) ** 2
    down, right = np.meshgrid(np.fft.fftfreq(512), np.fft.rfftfreq(512), indexing="ij")
    frequency, angle = np.hypot(down, right), 2 * np.arctan2(down, right)
    bands = [(frequency > 0.5 / size) & (frequency <= 1 / size) for size in (2, 4, 8, 16, 32, 64)]
    power = np.array([spectrum[band].sum() for band in bands]) + 1e-9
    middle = (frequency > 1 / 64) & (frequency <= 1 / 4)
    streets = abs((spectrum * np.exp(1j * angle))[middle].sum()) / spectrum[middle].sum()
    return np.array([*covers, *(0.15 * np.log(power / power.sum())), 2 * streets])


def choose(features: NDArray[np.float64], sizes: list[int], most: int) -> list[int]:
    """Return the numbers of the chosen fields, the least alike first."""
    centre = np.linalg.norm(features - features.mean(axis=0), axis=1)
    chosen = [int(centre.argmin())]
    nearest = np.linalg.norm(features - features[chosen[0]], axis=1)
    used = sizes[chosen[0]]
    while nearest.max() > 0:
        next_one = int(nearest.argmax())
        if used + sizes[next_one] <= most:
            chosen.append(next_one)
            used += sizes[next_one]
        distance = np.linalg.norm(features - features[next_one], axis=1)
        nearest = np.minimum(nearest, distance)
    return chosen


def main(folder: Path, out: Path) -> None:
    """Copy the chosen pictures."""
    paths = [path for path in sorted(folder.glob("*.webp")) if path.stem not in GROUND]
    features = []
    for path in paths:
        with Image.open(path) as picture:
            features.append(describe(np.asarray(picture.convert("L"), np.float64) / 255))
    chosen = choose(np.array(features), [path.stat().st_size for path in paths], MOST_BYTES)
    out.mkdir(parents=True, exist_ok=True)
    for path in (paths[number] for number in sorted(chosen)):
        shutil.copyfile(path, out / path.name)
    print(f"{out}: {len(chosen)} of {len(paths)} fields")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
