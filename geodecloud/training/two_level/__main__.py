"""Train: ``python -m geodecloud.training.two_level RECIPE OUT --tiles DIR --cloud-fields DIR``.

``geodecloud train`` does the same; here a run that is there is resumed without being asked.
"""

import argparse
from pathlib import Path

import torch

from geodecloud.training.two_level.library import Sources
from geodecloud.training.two_level.recipe import load_recipe
from geodecloud.training.two_level.trainer import train


def main() -> None:
    """Read the recipe and the data, and train."""
    parser = argparse.ArgumentParser(description="Train the generator.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path, help="folder of the run; it is resumed where it is there")
    parser.add_argument("--tiles", type=Path, required=True, help="EuroSAT, folder or zip")
    parser.add_argument("--cloud-fields", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, help="clear scenes")
    parser.add_argument("--start", type=Path, help="model file or last.pt to begin with")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="of a CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = load_recipe(options.recipe)
    if options.steps:
        recipe = recipe.with_schedule(steps=options.steps)
    sources = Sources(options.tiles, options.cloud_fields, options.scenes)
    train(recipe, sources, options.out, start=options.start, resume=True, device=options.device)


if __name__ == "__main__":
    main()
