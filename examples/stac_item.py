# %% [markdown]
# # From a STAC item to a result
#
# This notebook searches a STAC catalogue for a cloudy scene, restores a part of
# it without downloading the whole, and writes a STAC item of the result. It
# is written for the [Planetary
# Computer](https://planetarycomputer.microsoft.com/dataset/sentinel-2-l2a), and
# shows what differs for [Earth
# Search](https://earth-search.aws.element84.com/v1).
#
# So that it runs anywhere, a small server on this machine stands in for the
# catalogue. It has the sample of the repository, in files of one band each,
# with addresses that must be signed. For the real catalogue, change the two
# lines that are marked.

# %%
import tempfile
from pathlib import Path

import geodecloud
import matplotlib.pyplot as plt
import numpy as np
import pystac
import pystac_client
import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import from_bounds

from helpers.figures import panels, read, show_colours, show_provenance
from helpers.local_stac import serve_sample, sign

RESULTS = Path("results")
RESULTS.mkdir(exist_ok=True)

CATALOGUE = serve_sample(Path("../sample_data"), Path(tempfile.mkdtemp()))
# Real: CATALOGUE = "https://planetarycomputer.microsoft.com/api/stac/v1"

# %% [markdown]
# ## Find a scene
#
# `sign` adds a signature to the addresses of an item's files. The real one is
# `sign_inplace` of the package `planetary-computer`. Earth Search needs none.

# %%
AREA = (-75.718, 37.690, -75.695, 37.705)  # west, south, east, north

client = pystac_client.Client.open(CATALOGUE, modifier=sign)
# Real: modifier=planetary_computer.sign_inplace

search = client.search(
    collections=["sentinel-2-l2a"],
    bbox=AREA,
    datetime="2020-06-01/2020-07-31",
    query={"eo:cloud_cover": {"lt": 80}},
)
items = sorted(search.items(), key=lambda item: item.datetime)
for item in items:
    cloud_cover = item.properties["eo:cloud_cover"]
    print(item.id, item.datetime.date(), f"{cloud_cover} % cloud")

# %% [markdown]
# ## Ask the item for the offset
#
# Sentinel-2 has an offset of -1000 from processing baseline 04.00 on. The
# Planetary Computer passes DN on as they are, and its band files do not state
# the baseline. The item does, also for old scenes that were processed again, so
# do not judge by the date.
#
# On Earth Search, the assets are `red`, `green` and `blue`, and the property
# `earthsearch:boa_offset_applied` decides: if it is true, the offset is 0. It
# has been [wrong for some
# scenes](https://github.com/Element84/earth-search/issues/71). To check it,
# look at dark water: with the right offset, its reflectance is not far below 0.

# %%
item = items[0]
baseline = float(item.properties["s2:processing_baseline"])
offset = -1000 if baseline >= 4 else 0
print(f"{item.id}: baseline {baseline:05.2f}, so offset {offset}")

# %% [markdown]
# ## Restore a part of it
#
# The files are given one by one: red, green and blue in this order, then those
# of further bands, here near infrared. `aoi` is in the CRS of the scene, so the
# area is projected first. `allow_network` must be given: without it, geodecloud
# reads nothing from the network. Signatures in addresses are secrets, and are
# written to no output.

# %%
crs = item.properties["proj:code"]  # older items: "proj:epsg", a number
NAMES = ("B04", "B03", "B02", "B08")
bounds = transform_bounds("EPSG:4326", crs, *AREA)
bands = [item.assets[name].href for name in NAMES]

report = geodecloud.decloud_file(
    bands,
    RESULTS / "from_stac.tif",
    aoi=bounds,
    offset=offset,
    allow_network=True,
    provenance=RESULTS / "from_stac_provenance.tif",
    stac=True,
    format="cog",
    overwrite=True,
)
print(f"{report.width} x {report.height} pixels")
print(f"{report.invented_fraction:.0%} invented")


# %%
def read_part(address):
    """Return the part of a band that lies in the area: (rows, columns)."""
    with rasterio.open(address) as file:
        window = from_bounds(*bounds, file.transform).round()
        return file.read(1, window=window)


figure, (before, after, codes) = panels(3)
rgb = np.stack([read_part(band) for band in bands[:3]])
show_colours(before, rgb, f"{item.id}, before")
show_colours(after, read(RESULTS / "from_stac.tif")[:3], "After")
show_provenance(codes, RESULTS / "from_stac_provenance.tif")
plt.show()

# %% [markdown]
# ## The result as a STAC item
#
# `stac=True` wrote an item beside the result. It has the place, the bands, and
# the options and model that were used, and it names the provenance as an asset.
# Add it to a catalogue of your own:

# %%
result = pystac.Item.from_file(RESULTS / "from_stac.json")
for name, asset in result.assets.items():
    print(f"{name:12} {asset.href}")

# %% [markdown]
# ## What to do next
#
# - `mask=item.assets["SCL"].href` restores only what Sentinel-2's scene
#   classification calls cloud.
# - The clear item of July could put real ground under the clouds of June. Stack
#   its files into one VRT by `gdalbuildvrt -separate`, and see [Compare with a
#   second date](second_date.py).
# - Many scenes at once: [Batches and clusters](../docs/batch.md).
# - Each provider's offset and scale: [Which options for my
#   data](../docs/data.md).
