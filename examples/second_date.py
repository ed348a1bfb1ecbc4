# %% [markdown]
# # Compare with a second date
#
# Where did the land change between June and July, if June was cloudy? This
# notebook compares a restored scene with a second date, and shows two traps.
# Invented pixels look like change. Pixels that were taken from the second date
# look like no change.
#
# June is the sample of the repository, under simulated clouds. July is made
# here from the clear sample: there is less light, and three pieces of land are
# bare. So you know what changed.

# %%
from pathlib import Path

import geodecloud
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib.patches import Rectangle

from helpers.figures import (
    RGB,
    note_grey,
    panels,
    read,
    show_colours,
    show_provenance,
    show_values,
)

SAMPLES = Path("../sample_data")
RESULTS = Path("results")
RESULTS.mkdir(exist_ok=True)
JUNE, JULY = SAMPLES / "s2_cloudy.tif", RESULTS / "july.tif"

# %% [markdown]
# ## Make July
#
# One piece of land is in plain view in June, one under thin cloud, one under
# opaque cloud.

# %%
BARE_SOIL = np.array([1320, 1160, 1240, 1840])[:, None, None]  # of the sample
PIECES = {  # rows, columns
    "in plain view": (slice(256, 300), slice(140, 192)),
    "under thin cloud": (slice(54, 82), slice(114, 142)),
    "under opaque cloud": (slice(45, 84), slice(298, 330)),
}

july = read(SAMPLES / "s2_clear.tif").astype(float)
for rows, columns in PIECES.values():
    land = july[:, rows, columns]
    july[:, rows, columns] = BARE_SOIL + 0.2 * (
        land - land.mean(axis=(1, 2), keepdims=True)
    )
july *= 0.94  # less light

with rasterio.open(SAMPLES / "s2_clear.tif") as sample:
    profile, names = sample.profile, sample.descriptions
with rasterio.open(JULY, "w", **profile) as out:
    out.write(np.rint(july).astype("uint16"))
    out.descriptions = names

# %% [markdown]
# ## Restore June
#
# June is restored twice: from itself alone, and with real ground of July under
# opaque cloud, by `references`. A reference should be free of cloud, or nodata
# under its clouds.

# %%
alone = geodecloud.decloud_file(
    JUNE,
    RESULTS / "june.tif",
    provenance=RESULTS / "june_provenance.tif",
    offset=0,
    overwrite=True,
)
with_july = geodecloud.decloud_file(
    JUNE,
    RESULTS / "june_with_july.tif",
    references=[JULY],
    provenance=RESULTS / "june_with_july_provenance.tif",
    offset=0,
    overwrite=True,
)
for name, report in {"alone": alone, "with July": with_july}.items():
    invented, july_s = report.invented_fraction, report.reference_fraction
    print(f"{name:10}{invented:4.0%} invented, {july_s:4.0%} from July")

# %%
figure, axes = panels(4, columns=2)
pictures = {
    "June": JUNE,
    "June, restored alone": RESULTS / "june.tif",
    "June, with real ground of July": RESULTS / "june_with_july.tif",
}
for axis, (title, path) in zip(axes, pictures.items(), strict=False):
    show_colours(axis, read(path)[RGB], title)
show_provenance(
    axes[3], RESULTS / "june_with_july_provenance.tif", "Provenance, with July"
)
plt.show()

# %% [markdown]
# Real ground looks better than invented ground, and for a map it is better. But
# it is the ground of July: the bare piece in the north-east was green in June.
#
# ## Find the change
#
# Here, change is a fall of the NDVI by more than 0.15 from June to July. Three
# ways of finding it are compared.


# %%
def ndvi_of(path):
    """Return the NDVI of a scene with offset 0; NaN is nodata."""
    dn = read(path).astype(float)
    _, _, red, near_infrared = np.where(dn == 0, np.nan, dn)
    return (near_infrared - red) / (near_infrared + red)


provenance = read(RESULTS / "june_provenance.tif")[0]
fall = ndvi_of(JULY) - ndvi_of(RESULTS / "june.tif")
falls = {
    "Restored alone, all pixels": fall,
    "Restored alone, real pixels": np.where(
        geodecloud.is_real(provenance), fall, np.nan
    ),
    "With July, all pixels": ndvi_of(JULY)
    - ndvi_of(RESULTS / "june_with_july.tif"),
}

figure, axes = panels(3)
for axis, (title, values) in zip(axes, falls.items(), strict=True):
    image = show_values(axis, values, title, (-0.4, 0.4), "PuOr")
    note_grey(axis, "left out or nodata", frame="land that changed")
    for rows, columns in PIECES.values():
        width, height = columns.stop - columns.start, rows.stop - rows.start
        corner = (columns.start, rows.start)
        axis.add_patch(
            Rectangle(corner, width, height, fill=False, linewidth=1.5)
        )
figure.colorbar(
    image, ax=axes, label="NDVI, July minus June", shrink=0.8, pad=0.01
)
plt.show()

# %%
changed = np.zeros(fall.shape, bool)
for piece in PIECES.values():
    changed[piece] = True

print(
    f"{'':30}{'false alarms':>13}" + "".join(f"{name:>20}" for name in PIECES)
)
alarms, found = {}, {}
for way, values in falls.items():
    hits = values < -0.15
    alarms[way] = (hits & ~changed).sum() / (~changed & ~np.isnan(values)).sum()
    found[way] = [hits[piece].mean() for piece in PIECES.values()]
    print(
        f"{way:30}{alarms[way]:13.1%}"
        + "".join(f"{part:20.0%}" for part in found[way])
    )

# %% [markdown]
# The columns give the fraction of false alarms among the pixels that did not
# change, and the fraction of each piece of land that was found.
#
# - **All pixels, restored alone.** Fields that were invented for June differ
#   from those of July. Most false alarms come from there, and the piece under
#   opaque cloud is found by chance.
# - **Real pixels.** False alarms are gone. Nearly all of the piece in plain
#   view is found. The other two are left out, which is the honest answer.
# - **With July.** Under opaque cloud, June *is* July. The change there cannot
#   be found, and only the provenance warns of it. The false alarms that are
#   left lie under thin cloud.
#
# So for change, drop the pixels that came from the other date, too. `is_real`
# keeps them, as they are real ground: use `provenance == 0`. To find change
# under thin cloud as well, use `provenance <= 100`, and a threshold above the
# error that [Provenance in an NDVI](ndvi.py) shows.
#
# ## What to do next
#
# - Several dates: give `references` as a list, the best first. The provenance
#   tells which one each pixel came from.
# - A second date with clouds of its own: restore it with `opaque="nodata"`, and
#   give the result as reference.
# - Fetch a second date from a catalogue: [From a STAC item to a
#   result](stac_item.py).
