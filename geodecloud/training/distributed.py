"""Join the processes that ``torchrun`` has started, each with a GPU of its own if there are any."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from geodecloud.errors import DataError, UsageError
from geodecloud.model.device import fast_bf16, find_device
from geodecloud.settings import Precision
from geodecloud.settings.cores import available_threads


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Args:
        rank: number of this process, from 0.
        count: number of processes.
        device: on which this process computes.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """True for the first process, which validates, saves and prints."""
        return self.rank == 0

    def synchronise(self, network: nn.Module) -> nn.Module:
        """Return the network with gradients averaged over all processes; alone, the network itself.

        BatchNorm's statistics are not averaged: those of the first process are saved.
        """
        if self.count == 1:
            return network
        return DistributedDataParallel(network, broadcast_buffers=False)

    def refuse_uneven(self, batch_size: int, section: str) -> None:
        """Refuse a batch size that the number of processes does not divide.

        Args:
            batch_size: over all processes.
            section: of the configuration, for the message.

        Raises:
            DataError: the batch cannot be divided evenly.
        """
        if batch_size % self.count:
            raise DataError(
                f"[{section}] batch_size is {batch_size}: give a multiple of the "
                f"{self.count} processes"
            )

    def settled(self, precision: Precision) -> Precision:
        """Return a precision; in place of "auto", bf16 if the device is fast at it, else fp32."""
        if precision != "auto":
            return precision
        return "bf16" if fast_bf16(self.device) else "fp32"

    def agree(self, facts: dict[str, Any]) -> None:
        """Check that all processes have the same facts.

        Args:
            facts: by name, which the message shows.

        Raises:
            DataError: a fact differs, for example as the machines do not share a disk.
        """
        if self.count == 1:
            return
        everyone: list[dict[str, Any]] = [{}] * self.count
        distributed.all_gather_object(everyone, facts)
        for name, ours in everyone[0].items():
            for rank, theirs in enumerate(everyone):
                if theirs[name] != ours:
                    raise DataError(
                        f"processes 0 and {rank} differ in the {name}; "
                        "give all machines the same data, and `out` on a shared disk"
                    )

    def wait(self) -> None:
        """Wait for all processes."""
        if self.count > 1:
            distributed.barrier()


def use_threads(count: int | None) -> None:
    """Set the number of threads on the CPU.

    Args:
        count: None: ``OMP_NUM_THREADS`` where it is set, as by ``torchrun``; else one per core that
            this process may use.
    """
    if count or "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(count or available_threads())


@contextmanager
def joined_processes(name: str = "auto") -> Iterator[Processes]:
    """Yield this process, one of those that ``torchrun`` has started or the only one.

    Args:
        name: of the device. "auto" is a CUDA GPU if there is one. Of several processes each takes
            a GPU of its own, or all compute on the CPU.

    Raises:
        UsageError: the device is not available, or there are more processes than GPUs.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        # Not "auto": Apple's mps lacks operations that the clouds need.
        best = "cuda" if torch.cuda.is_available() else "cpu"
        yield Processes(0, 1, find_device(best if name == "auto" else name))
        return
    device = torch.device("cpu")
    if name in ("auto", "cuda") and torch.cuda.is_available():
        device = torch.device("cuda", _own_gpu())
        torch.cuda.set_device(device)
    elif name not in ("auto", "cpu"):
        raise UsageError(
            f"`device` {name!r} is not available to several processes; give auto or cpu"
        )
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), count, device)
    finally:
        distributed.destroy_process_group()


def _own_gpu() -> int:
    """Return the number of this process's GPU.

    Raises:
        UsageError: the machine has fewer GPUs than processes.
    """
    rank, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= gpus:
        raise UsageError(
            f"process {rank + 1} of this machine has no GPU of its own: start at most {gpus}, or "
            "give `device` cpu"
        )
    return rank
