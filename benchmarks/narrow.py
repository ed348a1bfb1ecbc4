"""Narrow a model without training it: fewer channels, nearly the same answers.

    python benchmarks/narrow.py MODEL OUT --data EUROSAT --cloud-fields DIR
                                [--widths 32,64,128,128,128]

What the channels say of each other is measured on windows of ``configs/keep.toml``, without scenes.
"""

import argparse
import dataclasses
from pathlib import Path

import torch

from geodecloud.data.two_level.draw import Draw
from geodecloud.data.two_level.synthesis import make_batch
from geodecloud.model.checkpoint import load_generator, save_generator
from geodecloud.training.two_level.library import WindowSources
from geodecloud.training.two_level.narrow import narrowed
from geodecloud.training.two_level.recipe import load_recipe

KEEP = Path(__file__).resolve().parent.parent / "configs" / "keep.toml"
SEED, BATCHES, WINDOWS = 5, 6, 64


def main() -> None:
    """Write the narrow model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cloud-fields", type=Path, required=True)
    parser.add_argument("--widths", default="32,64,128,128,128")
    options = parser.parse_args()
    recipe = load_recipe(KEEP)
    library = WindowSources(options.data, cloud_fields=options.cloud_fields).read(
        recipe, torch.device("cpu")
    )
    wide, info = load_generator(options.model)
    widths = tuple(int(width) for width in options.widths.split(","))
    windows = (
        make_batch(
            Draw(SEED, step), library.land, library.bank, WINDOWS, recipe.synthesis
        ).model_input
        for step in range(BATCHES)
    )
    narrow = narrowed(wide, dataclasses.replace(wide.plan, widths=widths), windows)
    about = {name: value for name, value in info.metadata.items() if name != "generator"}
    save_generator(narrow, options.out, about | {"narrowed_from": info.name})


if __name__ == "__main__":
    main()
