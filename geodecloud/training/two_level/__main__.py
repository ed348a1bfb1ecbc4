"""Train: ``python -m geodecloud.training.two_level RECIPE OUT --tiles DIR --cloud-fields DIR``."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from geodecloud.data.eurosat import load_eurosat
from geodecloud.data.two_level.clear_scenes import load_clear_scenes
from geodecloud.data.two_level.cloud_fields import load_cloud_fields
from geodecloud.data.two_level.field_bank import make_bank
from geodecloud.data.two_level.land import load_land
from geodecloud.training.two_level.recipe import Recipe, load_recipe
from geodecloud.training.two_level.trainer import Library, Run, train


def main() -> None:
    """Read the recipe and the data, and train."""
    parser = argparse.ArgumentParser(description="Train the generator.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path, help="folder of the run; it is resumed where it is there")
    parser.add_argument("--tiles", type=Path, required=True, help="EuroSAT, folder or zip")
    parser.add_argument("--cloud-fields", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, help="clear scenes")
    parser.add_argument("--start", type=Path, help="model file or last.pt to begin with")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="of a CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe, device = load_recipe(options.recipe), torch.device(options.device)
    if options.steps:
        schedule = dataclasses.replace(recipe.schedule, steps=options.steps)
        recipe = dataclasses.replace(recipe, schedule=schedule)
    run = Run(recipe, device)
    if (options.out / "last.pt").exists():
        run.load(options.out / "last.pt")
    elif options.start:
        run.start_from(options.start)
    library = load_library(recipe, options.tiles, options.cloud_fields, options.scenes, device)
    train(run, library, options.out)


def load_library(
    recipe: Recipe, tiles: Path, fields: Path, scenes: Path | None, device: torch.device
) -> Library:
    """Read tiles, cloud fields and clear scenes and put them on the device."""
    eurosat = load_eurosat(tiles)
    windows: dict[int, NDArray[np.uint16]] = load_clear_scenes(scenes) if scenes else {}
    land = load_land(eurosat.pixels, eurosat.names, windows, device)
    real = torch.from_numpy(load_cloud_fields(fields)).to(device)
    return Library(land, make_bank(real, recipe.noise_fields, recipe.schedule.seed))


if __name__ == "__main__":
    main()
