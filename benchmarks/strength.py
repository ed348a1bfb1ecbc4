"""Find the strength of a model on held-out tiles, and write the model with it.

    python benchmarks/strength.py MODEL EUROSAT_DIR OUT.safetensors [--limit 150]

A generator trained to the least expected error moves too little where it is in doubt. Its change
times each factor is scored by ``geodecloud evaluate --tiles``; the factor with the highest mean
PSNR over the kinds of cloud goes into the metadata of OUT as ``strength``.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from geodecloud.checkpoint import copy_with_strength
from geodecloud.evaluate_tiles import evaluate_tiles

FACTORS = (1.0, 1.05, 1.1, 1.15, 1.2)


def main() -> None:
    """Score each factor, print a table, write the best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("eurosat", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--limit", type=int, default=150)
    options = parser.parse_args()
    means = {}
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial.safetensors"
        for factor in FACTORS:
            copy_with_strength(options.model, factor, trial)
            kinds = evaluate_tiles(options.eurosat, trial, options.limit)["kinds"]
            row = {kind: scores["restored"]["psnr"] for kind, scores in kinds.items()}
            del row["none"], row["article"]  # nothing to remove; nothing like a cloud
            means[factor] = statistics.mean(row.values())
            each = "  ".join(f"{kind} {psnr:.2f}" for kind, psnr in row.items())
            print(f"{factor:.2f}  {each}  mean {means[factor]:.2f} dB", flush=True)
    best = max(means, key=lambda factor: means[factor])
    copy_with_strength(options.model, best, options.out)
    print(f"{options.out}: strength {best}")


if __name__ == "__main__":
    main()
