# %% [markdown]
# # Provenance in an NDVI
#
# An index is only as good as its pixels. This notebook computes the NDVI of a
# restored scene of four bands, and leaves the invented pixels out. The truth is
# known, so it also shows what would have gone wrong otherwise.

# %%
from pathlib import Path

import geodecloud
import matplotlib.pyplot as plt
import numpy as np

from helpers.figures import note_grey, panels, read, show_values

SAMPLES = Path("../sample_data")
RESULTS = Path("results")
RESULTS.mkdir(exist_ok=True)

# %% [markdown]
# ## Restore all four bands
#
# The sample has blue, green, red and near infrared: B02, B03, B04 and B08. The
# network sees the first three. Near infrared is restored, too, because its name
# tells its wavelength.

# %%
report = geodecloud.decloud_file(
    SAMPLES / "s2_cloudy.tif",
    RESULTS / "restored.tif",
    provenance=RESULTS / "provenance.tif",
    offset=0,
    overwrite=True,
)


# %% [markdown]
# ## Compute the NDVI
#
# Use reflectance, not DN, in an index: it differs wherever a scene has an
# offset. The offset of this scene is 0.


# %%
def ndvi_of(path):
    """Return the NDVI of a scene of the sample; NaN where there is nodata."""
    dn = read(path).astype(float)
    reflectance = np.where(
        dn == 0, np.nan, (dn + report.radiometry.offset) / 10_000
    )
    _, _, red, near_infrared = reflectance
    return (near_infrared - red) / (near_infrared + red)


cloudy = ndvi_of(SAMPLES / "s2_cloudy.tif")
restored = ndvi_of(RESULTS / "restored.tif")
truth = ndvi_of(SAMPLES / "s2_clear.tif")

# %% [markdown]
# ## Leave out what was not seen
#
# One line does it. `is_real` is true where the ground was seen: it drops what
# was filled under opaque cloud, and what was computed under thin cloud.

# %%
provenance = read(RESULTS / "provenance.tif")[0]
real = np.where(geodecloud.is_real(provenance), restored, np.nan)

figure, axes = panels(4, columns=2)
pictures = {
    "NDVI under cloud": cloudy,
    "NDVI, restored": restored,
    "NDVI, only real pixels": real,
    "NDVI, truth": truth,
}
for axis, (title, values) in zip(axes, pictures.items(), strict=True):
    image = show_values(axis, values, title, (0, 0.8), "YlGn")
    note_grey(axis, "left out or nodata" if values is real else "nodata")
figure.colorbar(image, ax=axes, label="NDVI", shrink=0.8, pad=0.01)
plt.show()

# %% [markdown]
# The second picture looks like the fourth, even where it is invented. That is
# the danger: nothing in the picture tells you where to stop believing it.
#
# ## How wrong is each kind of pixel?
#
# `bias` is the mean error, `RMSE` the typical error of one pixel. `correlation`
# tells whether a pixel's NDVI says anything about the true one.

# %%
kinds = {
    "measured": provenance == geodecloud.Provenance.MEASURED,
    "restored": (provenance >= 1) & (provenance <= 100),
    "filled": provenance == geodecloud.Provenance.FILLED,
}
scores = {}
print(f"{'pixels':10}{'number':>8}{'bias':>8}{'RMSE':>8}{'correlation':>13}")
for kind, pixels in kinds.items():
    error = restored[pixels] - truth[pixels]
    bias, rmse = error.mean(), np.sqrt((error**2).mean())
    correlation = np.corrcoef(restored[pixels], truth[pixels])[0, 1]
    scores[kind] = bias, rmse, correlation
    print(
        f"{kind:10}{pixels.sum():8}{bias:+8.3f}{rmse:8.3f}{correlation:13.2f}"
    )

# %%
figure, axes = plt.subplots(
    1, 3, figsize=(12, 4), layout="constrained", sharey=True
)
for axis, (kind, pixels) in zip(axes, kinds.items(), strict=True):
    *_, image = axis.hist2d(
        truth[pixels],
        restored[pixels],
        bins=60,
        range=[(-0.2, 0.9)] * 2,
        cmap="Blues",
        cmin=1,
    )
    axis.plot(
        [-0.2, 0.9], [-0.2, 0.9], color="0.4", linewidth=1, label="no error"
    )
    axis.set(
        title=f"{kind.capitalize()} pixels",
        xlabel="NDVI, truth",
        aspect="equal",
    )
    axis.legend(loc="upper left")
    figure.colorbar(image, ax=axis, label="pixels", shrink=0.7)
axes[0].set_ylabel("NDVI after restoring")
plt.show()

# %% [markdown]
# Measured pixels lie on the line. Restored pixels lie near it: use them where
# some error is better than a gap, and say so. Filled pixels are scattered: they
# have the NDVI of the land around them, not of the ground below the cloud.
#
# ## What to do next
#
# - Keep the provenance beside every product that you derive, such as this NDVI.
#   Its codes hold for all bands.
# - A mean over a field: compute it over the real pixels, and give their
#   fraction beside it.
# - To keep restored pixels and drop filled ones, use `provenance <= 100` in
#   place of `is_real`.
# - Real ground under opaque cloud comes from another day: [Compare with a
#   second date](second_date.py).
