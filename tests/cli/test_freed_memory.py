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
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(2**24)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(min(faults() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
@pytest.mark.parametrize("said", [{}, {"MALLOC_MMAP_THRESHOLD_": str(2**20)}], ids=["by itself", "told otherwise"])
def test_a_tensor_is_put_where_the_last_one_was(said):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run([sys.executable, "-c", MEASURE], env=kept | said, capture_output=True, text=True, check=True)
    pages = 2**26 // os.sysconf("SC_PAGE_SIZE")
    assert (int(run.stdout) < pages // 10) == (not said)
