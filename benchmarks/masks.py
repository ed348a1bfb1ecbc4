"""Score cloud masks of real scenes against labelled ones, set by set.

    python benchmarks/masks.py [SET ...] [--data ../shared/data] [--model MODEL]

Runs ``geodecloud evaluate --masks`` on each set; OmniCloudMask has rows where it is installed with
its weights (``pip install omnicloudmask``; it fetches the weights from the network).
"""

import argparse
import tempfile
import warnings
from pathlib import Path

from geodecloud.evaluation.masks import evaluate_masks, masks_table
from geodecloud.settings import Settings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
S2 = "S2A_L2A_20221005_T29UNU_60m"
# Name -> images and masks, the classes of the masks, how the images are read, what the masks are.
SETS = {
    "oncloudn": (
        {f"oncloudn_L2A_chip_{i}": f"oncloudn_L2A_chip_{i}_mask" for i in (1, 2, 3)},
        "0=clear,1=cloud",
        {},
        "10 m, cumulus; masks that are generous around clouds, shadows are not labelled",
    ),
    "ukis": (
        {"S2_L1C_ukis_512_rgb_uint16_nocrs": "S2_L1C_ukis_512_mask"},
        "0=shadow,1-3=clear,4=cloud",
        {},
        "10 m, cumulus and shadows",
    ),
    "T33UXQ": (
        {"S2A_L2A_20210410_T33UXQ_60m_rgbnir_uint16": "S2A_L2A_20210410_T33UXQ_60m_SCL"},
        None,
        {},
        "60 m, cirrus; SCL, no truth but another opinion",
    ),
    "T29UNU": (
        {f"{S2}_rgb_uint16": f"{S2}_SCL"},
        None,
        {"offset": -1000},
        "60 m, thick cloud, cirrus and shadow; SCL, no truth but another opinion",
    ),
}


def main() -> None:
    """Score the sets that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=", ".join(SETS))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in chosen.sets or SETS:
        files, classes, reading, about = SETS[name]
        with tempfile.TemporaryDirectory() as work:
            images, masks = Path(work, "images"), Path(work, "masks")
            for folder in (images, masks):
                folder.mkdir()
            ending = "_mask" if classes else "_SCL"
            scenes = chosen.data.resolve() / "scenes"
            for image, mask in files.items():
                (images / f"{image}.tif").symlink_to(scenes / f"{image}.tif")
                (masks / f"{image}{ending}.tif").symlink_to(scenes / "aux" / f"{mask}.tif")
            scores = evaluate_masks(images, masks, chosen.model, classes, Settings(**reading))
        print(f"{name}: {about}\n{masks_table(scores)}\n")


if __name__ == "__main__":
    main()
