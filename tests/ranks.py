"""Processes that know each other, for tests of what is sharded."""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.device_mesh import init_device_mesh


def in_ranks(work, *arguments, folder, ranks=2):
    """Runs a function of (mesh, ...) in processes of their own; the first error of one of them is raised."""
    mp.spawn(_begin, (work, folder / "meeting", ranks, arguments), nprocs=ranks)


def _begin(rank, work, meeting, ranks, arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    work(init_device_mesh("cpu", (ranks,)), *arguments)
    dist.destroy_process_group()
    # A thread of gloo that still holds a tensor aborts an interpreter that is ending (pytorch/pytorch#179291).
    os._exit(0)
