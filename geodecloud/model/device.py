"""Find the device of the network, and check whether it is fast at bf16."""

import re

import torch

from geodecloud.errors import UsageError


def find_device(name: str) -> torch.device:
    """Return the device of this name; "auto" means a GPU if there is one.

    Raises:
        UsageError: the device is not available on this machine.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"`device` is {name!r}: give auto, cpu, cuda, cuda:1 or mps")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"`device` {name!r} is not available on this machine; give auto or cpu"
        ) from error
    return device


def fast_bf16(device: torch.device) -> bool:
    """Return whether the device computes bf16 natively; emulation is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def gpu_count() -> int:
    """Return the number of CUDA devices of this machine."""
    return torch.cuda.device_count()
