# %% [markdown]
# # Your first scene
#
# This notebook restores a cloudy Sentinel-2 scene, and shows which pixels to
# trust afterwards. It takes some ten seconds on a laptop, without a GPU and
# without a download.
#
# The scene is the sample of the repository: 3.9 km x 3.6 km of fields, woods
# and a village on the east coast of the United States. Its clouds are
# simulated, so the ground below them is known.

# %%
from pathlib import Path

import geodecloud
import matplotlib.pyplot as plt

from helpers.figures import RGB, panels, read, show_colours, show_provenance

SAMPLES = Path("../sample_data")
RESULTS = Path("results")
RESULTS.mkdir(exist_ok=True)

# %% [markdown]
# ## Restore it
#
# One call does it. `offset=0` states how DN become reflectance: (DN + 0) /
# 10000. Products with metadata need no such statement; [the page on
# data](../docs/data.md) says what yours needs.

# %%
report = geodecloud.decloud_file(
    SAMPLES / "s2_cloudy.tif",
    RESULTS / "restored.tif",
    provenance=RESULTS / "provenance.tif",
    offset=0,
    overwrite=True,
)
print(f"changed:  {report.changed_fraction:.0%} of the pixels")
print(f"invented: {report.invented_fraction:.0%} of the pixels")

# %% [markdown]
# ## Look at it
#
# The provenance says where the value of each pixel comes from. Black pixels are
# unchanged. Yellow to red pixels lay under thin cloud, and were computed
# from the light that came through. Magenta pixels lay under opaque cloud: no
# light came through, and their fields and roads are made up.

# %%
cloudy, restored = (
    read(SAMPLES / "s2_cloudy.tif"),
    read(RESULTS / "restored.tif"),
)

figure, (before, after, codes) = panels(3)
show_colours(before, cloudy[RGB], "Before")
show_colours(after, restored[RGB], "After")
show_provenance(codes, RESULTS / "provenance.tif")
plt.show()

# %% [markdown]
# ## Check the promise
#
# Measured pixels come back bit for bit, in all bands. Check it yourself:

# %%
provenance = read(RESULTS / "provenance.tif")[0]
measured = provenance == geodecloud.Provenance.MEASURED
same = (restored == cloudy).all(axis=0)
print(f"measured: {measured.sum()} pixels")
print(f"of these unchanged: {(measured & same).sum()} pixels")

# %% [markdown]
# ## See what "invented" means
#
# The truth is known here. This is the north-eastern corner, which lies under
# opaque cloud. The fill has the colours and the texture of land nearby. But its
# fields, woods and roads are not the true ones, which could not be seen. (The
# blue, green and red spots in the truth are an aircraft. Sentinel-2 takes its
# bands one after the other.)

# %%
truth = read(SAMPLES / "s2_clear.tif")
corner = (slice(0, 150), slice(239, 389))

figure, axes = panels(3)
pictures = {"Before": cloudy, "After: filled": restored, "Truth": truth}
for axis, (title, scene) in zip(axes, pictures.items(), strict=True):
    show_colours(axis, scene[RGB][:, *corner], title)
plt.show()

# %% [markdown]
# ## What to do next
#
# - Open `results/restored.tif` and `results/provenance.tif` in QGIS. The
#   provenance comes with its style.
# - Try your own scene: give its path instead of the sample's, and leave
#   `offset=0` out. `geodecloud info SCENE` shows which offset would be used.
# - Do not measure on invented pixels: [Provenance in an NDVI](ndvi.py) shows
#   how to leave them out.
# - Fill opaque cloud with real ground of another date: [Compare with a second
#   date](second_date.py).
