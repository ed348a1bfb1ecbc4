"""Make one model of several steps of a run: the mean of their weights, at its best strength.

    python benchmarks/finish.py EUROSAT_DIR OUT.safetensors MODEL [MODEL...] [--strength 1.1]

The mean of the weights of several steps (``RUN/models``) makes fewer mistakes about sand and water
than any of the steps (Izmailov et al. 2018, "Averaging weights leads to wider optima"). A generator
trained for the least expected error changes too little where it is uncertain. So its change is
multiplied by each of ``FACTORS`` and scored with ``geodecloud evaluate --tiles``. The factor with
the highest mean PSNR over semi-transparent clouds goes into the metadata of OUT as ``strength``.
``--strength`` overrides it: on clouds unlike those of training the generator is less certain.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from geodecloud.errors import ModelError
from geodecloud.evaluation.tiles import evaluate_tiles
from geodecloud.model.checkpoint import load_generator, save_generator

FACTORS = (1.0, 1.05, 1.1, 1.15, 1.2)


def copy_with_strength(model: Path, strength: float | tuple[float, ...], path: Path) -> None:
    """Write a copy of a model file with another strength, see :class:`ModelInfo`."""
    generator, info = load_generator(model)
    save_generator(generator, path, info.metadata | {"strength": strength})


def save_mean(models: list[Path], path: Path) -> None:
    """Write the mean of each weight, with the metadata of the last model and the steps of all.

    Raises:
        ModelError: a generator has another architecture than the last one.
    """
    generators, infos = zip(*(load_generator(model) for model in models), strict=True)
    for info in infos:
        if info.plan != infos[-1].plan:
            raise ModelError(
                f"{info.path}: architecture differs from {infos[-1].path}; "
                "give models of the same run"
            )
    weights = [generator.state_dict() for generator in generators]
    generators[-1].load_state_dict(
        {
            name: torch.stack([one[name] for one in weights]).mean(dim=0)
            if value.is_floating_point()
            else value
            for name, value in weights[-1].items()
        }
    )
    about = infos[-1].metadata | {"mean_of_steps": [info.metadata.get("steps") for info in infos]}
    about.pop("scores", None)  # they are the last model's, not the mean's
    save_generator(generators[-1], path, about)


def main() -> None:
    """Average the weights, score each factor, print a table and write the best model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("eurosat", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--limit", type=int, default=150)
    parser.add_argument("--strength", type=float, help="in place of the best of the table")
    options = parser.parse_args()
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        mean, trial = Path(folder) / "mean.safetensors", Path(folder) / "trial.safetensors"
        save_mean(options.models, mean)
        for factor in FACTORS:
            copy_with_strength(mean, factor, trial)
            kinds = evaluate_tiles(options.eurosat, trial, options.limit)["kinds"]
            row = {kind: rows["restored"]["psnr"] for kind, rows in kinds.items()}
            for kind in ("none", "deck", "article"):  # no cloud; no visible ground; grey noise
                del row[kind]
            scores[factor] = statistics.mean(row.values())
            each = "  ".join(f"{kind} {psnr:.2f}" for kind, psnr in row.items())
            print(f"{factor:.2f}  {each}  mean {scores[factor]:.2f} dB", flush=True)
        best = options.strength or max(scores, key=lambda factor: scores[factor])
        copy_with_strength(mean, best, options.out)
    print(f"{options.out}: strength {best}")


if __name__ == "__main__":
    main()
