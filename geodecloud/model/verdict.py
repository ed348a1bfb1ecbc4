"""Cache the verdict that bf16 is close to fp32, so that later starts need not compare them.

Only a good verdict is kept, as every run must warn of a bad one. The file's name is a hash of all
that the comparison depends on, and its content lists these facts. If any of them changes, or the
folder cannot be read or written, bf16 and fp32 are compared again. Only Linux describes the
processor in enough detail.
"""

import contextlib
import hashlib
import json
import os
import platform
from pathlib import Path

import numpy as np
import torch

from geodecloud.model.precision import MAX_MEAN, MAX_P999
from geodecloud.raster.atomic import atomic_write
from geodecloud.settings.cores import processor
from geodecloud.version import VERSION

_OF_THE_MOMENT = ("cpu MHz", "bogomips")  # entries that vary from time to time
_STEERING = ("ATEN_", "DNNL_", "MKL_", "ONEDNN_", "TORCH_")  # variables that PyTorch reads


def is_known_good(sha256: str, probes: int) -> bool:
    """Return whether bf16 was found close to fp32 on this machine before.

    Args:
        sha256: of the model file.
        probes: number of windows to compare.
    """
    try:
        basis = _basis(sha256, probes)
        return bool(basis) and _file(basis).read_text(encoding="utf-8") == basis
    except (OSError, ValueError, RuntimeError):  # RuntimeError: no home folder
        return False


def remember_good(sha256: str, probes: int) -> None:
    """Keep the good verdict for later starts, if possible."""
    with contextlib.suppress(OSError, RuntimeError):
        basis = _basis(sha256, probes)
        if basis:
            file = _file(basis)
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(file) as part:
                part.write_text(basis, encoding="utf-8")


def _basis(sha256: str, probes: int) -> str:
    """Return all that the verdict depends on, as JSON; "" if the processor is not described."""
    known = processor()
    if "flags" not in known:
        return ""
    facts = {
        "model": sha256,
        "geodecloud": VERSION,
        "torch": [torch.__version__, torch.__config__.show()],
        "numpy": np.__version__,
        "bounds": [probes, MAX_MEAN, MAX_P999],
        "system": [platform.machine(), platform.release()],
        "processor": {n: v for n, v in known.items() if n not in _OF_THE_MOMENT},
        "variables": {n: v for n, v in os.environ.items() if n.startswith(_STEERING)},
    }
    return json.dumps(facts, indent=1, sort_keys=True)


def _file(basis: str) -> Path:
    """Return the path of a verdict in the user's cache folder."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))  # a relative path must be ignored
    folder = chosen if chosen.is_absolute() else Path.home() / ".cache"
    return folder / "geodecloud" / f"bf16-{hashlib.sha256(basis.encode()).hexdigest()[:32]}.json"
