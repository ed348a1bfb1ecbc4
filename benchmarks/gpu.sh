#!/usr/bin/env bash
# Print the GPU's row of the table of full tiles, in under four minutes, and compare its pixels with
# those of a CPU.
#
#     PYTHON=python bash benchmarks/gpu.sh CLEAR.tif [SIZE]
#
# CLEAR.tif is a real clear scene, SIZE the side of the tile in pixels [default: 10980].
set -euo pipefail
clear=$(realpath "$1") size=${2:-10980} python=${PYTHON:-python}
cd "$(dirname "$0")/.."
export PYTHONPATH=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -c "import torch; assert torch.cuda.is_available(), 'no CUDA device'; \
print(torch.cuda.get_device_name(), 'PyTorch', torch.__version__)"
"$python" benchmarks/full_tile.py "$clear" --size "$size" --part 0 --only-full --device cuda

# A part by the GPU, at both precisions, and by the CPU in fp32: the difference in DN.
"$python" - "$clear" "$folder" <<'PART'
import sys
from pathlib import Path
from benchmarks.full_tile import make_tile
folder = Path(sys.argv[2])
make_tile(Path(sys.argv[1]), folder / "part.tif", 512, 1024)
PART
part() {
  "$python" -W ignore -m geodecloud "$folder/part.tif" "$folder/$1.tif" --device "$2" \
    --precision "$3" --scale 10000 --offset 0 -q
}
part cpu cpu fp32
part fp32 cuda fp32
part bf16 cuda bf16
"$python" -W ignore - "$folder" <<'COMPARE'
import sys
from pathlib import Path
import numpy as np
import rasterio
def dn(name):
    with rasterio.open(Path(sys.argv[1]) / f"{name}.tif") as file:
        return file.read().astype(int)
exact = dn("cpu")
for name in ("fp32", "bf16"):
    off = np.abs(dn(name) - exact)
    print(f"cuda {name} against cpu fp32: {off.mean():.2f} DN on average, "
          f"{np.percentile(off, 99.9):.0f} at the 99.9th percentile")
COMPARE
