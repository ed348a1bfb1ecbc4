# %% [markdown]
# # Tune the model to a region
#
# The built-in model was trained mostly on Europe. It may restore your region
# better after some training on clear scenes from there. Or it may not. So the
# second half of this notebook judges the tuned model on land that it was not
# trained on.
#
# Everything is very small here, so that it takes half a minute on a CPU. The
# western part of the sample stands for the scenes to train on, and the eastern
# part for the scenes to judge by.

# %%
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import geodecloud
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from geodecloud.model.model_file import default_model
from PIL import Image

from helpers.figures import RGB, panels, read, show_colours

CLEAR = Path("../sample_data/s2_clear.tif")
RESULTS = Path("results/tune")
WEST = 230  # columns to train on; the others are to judge by
for folder in ("scenes", "tiles/Region"):
    (RESULTS / folder).mkdir(parents=True, exist_ok=True)


def run(command):
    """Run geodecloud as in a terminal, and print its last line."""
    words = [sys.executable, "-m", "geodecloud", *shlex.split(command)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    print((done.stdout or done.stderr).splitlines()[-1])
    done.check_returncode()


# %% [markdown]
# ## Clear land
#
# Training needs two kinds of clear land:
#
# - **Clear scenes of the region**, for `--scenes`: GeoTIFFs. A mask beside a
#   scene leaves out the clouds that it has.
# - **EuroSAT**, for `--data`: it keeps the model from forgetting other land.
#   `geodecloud download-eurosat` fetches its 90 MB. Here, tiles of the sample
#   stand in for it, coded as EuroSAT's: reflectance 0.275 is white.

# %%
with rasterio.open(CLEAR) as scene:
    truth, profile, names = scene.read(), scene.profile, scene.descriptions
west = truth[:, :, :WEST]
with rasterio.open(
    RESULTS / "scenes/west.tif", "w", **profile | {"width": WEST}
) as out:
    out.write(west)
    out.descriptions = names

eight_bits = (
    np.clip(west[RGB] * (254 / 2750) + 1.5, 1, 255)
    .astype(np.uint8)
    .transpose(1, 2, 0)
)
corners = [
    (row, column)
    for row in range(0, 290, 32)
    for column in range(0, WEST - 63, 32)
]
for number, (row, column) in enumerate(corners, 1):
    tile = Image.fromarray(eight_bits[row : row + 64, column : column + 64])
    tile.save(RESULTS / f"tiles/Region/Region_{number}.jpg", quality=95)
print(f"{len(corners)} tiles")

# %% [markdown]
# ## A recipe
#
# A key that is left out has its default. For a real run, use
# `configs/tune.toml`: 4,500 steps of 32 windows, an hour or two on a CPU. This
# recipe has 16 steps of 8 windows.

# %%
recipe = """\
recipe = "two-level"
noise_fields = 16

[synthesis.land]
scenes = 0.8  # fraction of the windows from the clear scenes

[schedule]
steps = 16
batch_size = 8
rate = 5e-5
warm_up = 5  # steps
cooling = 0.5
ema_decay = 0.9
frozen_statistics = true  # the model is good already
join = 1.0  # no discriminator
validation_windows = 16
"""

# %% [markdown]
# ## Train
#
# The clear windows are put under clouds while the model trains: real clouds,
# cut from Landsat scenes, and synthetic ones.

# %%
(RESULTS / "recipe.toml").write_text(recipe)
shutil.rmtree(RESULTS / "run", ignore_errors=True)  # of an earlier run
run(f"""
    train --data results/tune/tiles --scenes results/tune/scenes
    --cloud-fields ../sample_data/cloud_fields
    --config results/tune/recipe.toml
    --start {shlex.quote(default_model().as_posix())}
    --out results/tune/run
""")

# %% [markdown]
# ## Judge it
#
# Two figures decide. The error under thin cloud should fall. And clear land
# should stay as it is: a model that changes clear land takes it for cloud.
#
# `geodecloud simulate` puts clouds over the clear scene, and writes their
# opacity. So the truth is known. Restoring the clear scene itself shows which
# clear pixels the model changes.

# %%
run("""
    simulate ../sample_data/s2_clear.tif results/tune/cloudy.tif
    --opacity results/tune/opacity.tif --kind cirrus --seed 3
    --offset 0 --overwrite
""")
cloudy, opacity = RESULTS / "cloudy.tif", RESULTS / "opacity.tif"


def restore(path, model):
    """Return a scene as the model restores it, and its provenance."""
    result, codes = RESULTS / "restored.tif", RESULTS / "provenance.tif"
    geodecloud.decloud_file(
        path, result, model=model, offset=0, provenance=codes, overwrite=True
    )
    return read(result), read(codes)[0]


east = (np.arange(truth.shape[2]) >= WEST) & (truth != 0).all(axis=0)
cloud = read(opacity)[0]
thin = east & (cloud > 0.03) & (cloud < 0.6)


def error_of(scene):
    """Return the mean error of reflectance in R, G, B under thin cloud."""
    error = scene[:3, thin] - truth[:3, thin].astype(float)
    return np.abs(error).mean() / 10_000


restored, scores = {}, {}
models = {"before": default_model(), "tuned": RESULTS / "run/last.safetensors"}
for name, model in models.items():
    restored[name], _ = restore(cloudy, model)
    _, codes = restore(CLEAR, model)
    changed = (codes[east] != geodecloud.Provenance.MEASURED).mean()
    scores[name] = error_of(restored[name]), changed

print(f"{'':12}{'error under thin cloud':>24}{'clear pixels changed':>24}")
print(f"{'cloudy':12}{error_of(read(cloudy)):24.4f}")
for name, (error, changed) in scores.items():
    print(f"{name:12}{error:24.4f}{changed:24.1%}")

# %%
figure, axes = panels(4, size=(2.4, 5.6))
pictures = {
    "East, under cirrus": read(cloudy),
    "Before tuning": restored["before"],
    "Tuned": restored["tuned"],
    "Truth": truth,
}
for axis, (title, scene) in zip(axes, pictures.items(), strict=True):
    show_colours(axis, scene[RGB][:, :, WEST:], title)
plt.show()

# %% [markdown]
# So few steps change little, and one scene proves nothing. A real run is judged
# in the same way.
#
# ## What to do next
#
# - Train with EuroSAT, with ten clear scenes or more of all seasons, and with
#   `configs/tune.toml`: [Training your own](../docs/training.md).
# - Judge by scenes of other days and places. `geodecloud evaluate` scores pairs
#   of real cloudy and clear scenes: [Judging a model](../docs/evaluate.md).
# - Use the tuned model by `--model RUN/best.safetensors`, or `model=` in
#   Python. Keep it only if both figures are better.
