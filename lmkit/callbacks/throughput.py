"""How fast a run is: tokens a second, the share of the device's peak that it uses (MFU), and memory."""

import resource
import sys
import time
from typing import Any

import torch
from lightning import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lmkit.callbacks.peak import peak_flops
from lmkit.data.examples.trees import Trees
from lmkit.tasks import Task


class Throughput(Callback):
    """Logs `perf/tokens_per_second` and `perf/mfu` (Chowdhery et al. 2022, PaLM, appendix B) over all ranks, and
    `perf/memory_gib`, the most memory of this process on its device. Time spent in validation does not count. FLOPs are
    those of rows in which each token sees all before it and is scored: of packed conversations, of which only answers
    are, and of trees, of which the longest is taken, that is more than there are.
    """

    def __init__(self) -> None:
        self._flops_per_token: float | None = None
        self._peak = 0.0
        self._tokens, self._seconds = 0, 0.0
        self._mark: float | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: Task, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        """Measures the yardsticks before the first batch; starts the clock, if it stands."""
        if not self._peak:
            self._find_yardsticks(trainer, pl_module, _time(batch))
        if self._mark is None:
            self._mark = time.perf_counter()

    def _find_yardsticks(self, trainer: Trainer, task: Task, time: int) -> None:
        """The device's peak, and the FLOPs of a token in rows of `time` tokens."""
        self._peak = peak_flops(task.device, _dtype(trainer)) * trainer.world_size
        try:
            self._flops_per_token = task.flops_per_token(time)
        except Exception as error:  # of a part, perhaps a plugin's, that cannot be run without its numbers
            flops = f"MFU unknown, since FLOPs cannot be counted on the meta device ({type(error).__name__})"
        else:
            flops = f"{self._flops_per_token / 1e6:,.1f} MFLOPs a training token"
        parameters = sum(parameter.numel() for parameter in task.network.parameters())
        rank_zero_info(f"{parameters:,} parameters, {flops}, peak {self._peak / 1e12:,.2f} TFLOP/s")

    def on_validation_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Stops the clock."""
        self._mark = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Adds a micro-batch; logs at the trainer's interval of optimizer steps."""
        now = time.perf_counter()
        self._seconds += now - (now if self._mark is None else self._mark)
        self._mark = now
        self._tokens += batch.inputs.numel() * trainer.world_size
        at_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if at_step and trainer.global_step % interval == 0 and self._seconds:
            rate = self._tokens / self._seconds
            pl_module.log("perf/tokens_per_second", rate, prog_bar=True)
            if self._flops_per_token:
                pl_module.log("perf/mfu", rate * self._flops_per_token / self._peak)
            pl_module.log("perf/memory_gib", _memory(pl_module.device) / 2**30)
            self._tokens, self._seconds = 0, 0.0


def _time(batch: Any) -> int:
    """The most tokens that one of them can see."""
    if isinstance(batch, Trees):
        return int(torch.bincount(batch.documents.flatten()).max())
    return int(batch.inputs.size(1))


def _dtype(trainer: Trainer) -> torch.dtype:
    """The dtype in which matrices are multiplied."""
    by_name = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}
    return by_name.get(str(trainer.precision).split("-")[0], torch.float32)


def _memory(device: torch.device) -> int:
    """The most bytes held at once."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
