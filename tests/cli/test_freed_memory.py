"""Freed memory stays with the process, unless the environment says something else."""

import os
import platform
import subprocess
import sys

import pytest

MEASURE = """
import resource, torch
from lmkit.cli.freed_memory import keep_freed_memory
keep_freed_memory()
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(2**18, size) for size in (4, 16, 1, 16, 64)]  # MiB, freed at the end
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([step() for _ in range(5)][-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
@pytest.mark.parametrize("said", [{}, {"MALLOC_MMAP_THRESHOLD_": str(2**20)}], ids=["by itself", "told otherwise"])
def test_a_tensor_is_put_where_the_last_one_was(said):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run([sys.executable, "-c", MEASURE], env=kept | said, capture_output=True, text=True, check=True)
    pages = 101 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    assert (int(run.stdout) < pages // 10) == (not said)
