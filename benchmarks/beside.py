"""The callback of `benchmarks.train_step`: each step of the trainer once more in a bare loop, beside the ceiling."""

import copy
import statistics
import time
from typing import Any

import torch
from lightning import Callback

from lmkit.callbacks.peak import measured_flops
from lmkit.optim import decay_by_rank

WARM_UP = 5


class Beside(Callback):
    """Takes each step of the trainer once more, bare, and times both."""

    def __init__(self) -> None:
        self.trained: list[float] = []
        self.bare: list[float] = []
        self.ceiling: list[float] = []
        self.tokens = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.network = copy.deepcopy(pl_module.network)
        self.optimizer = pl_module._optimizer(decay_by_rank(self.network))
        self.dtype = torch.bfloat16 if "bf16" in str(trainer.precision) else torch.float32
        self.flops = pl_module.flops_per_token(pl_module.network.context)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self.mark = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        device = pl_module.device
        _wait(device)
        self.trained.append(time.perf_counter() - self.mark)
        start = time.perf_counter()
        self._step(trainer, pl_module, batch)
        _wait(device)
        self.bare.append(time.perf_counter() - start)
        if batch_idx % 5 == 0:
            self.ceiling.append(measured_flops(device, self.dtype, tries=3))
        self.tokens = batch.inputs.numel()
        self.mark = time.perf_counter()

    def _step(self, trainer: Any, task: Any, batch: Any) -> None:
        """A bare loop's step: the same loss in the same precision, clipped alike."""
        kept, task.network = task.network, self.network
        with torch.autocast(task.device.type, torch.bfloat16, enabled="mixed" in str(trainer.precision)):
            loss, count = task.loss(batch)
        task.network = kept
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), trainer.gradient_clip_val)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        trained, bare = self.trained[WARM_UP:], self.bare[WARM_UP:]
        every = trainer.log_every_n_steps
        starts = range(0, len(trained) - every + 1, every)  # each block has one step that logs
        overhead = [sum(trained[i : i + every]) / sum(bare[i : i + every]) - 1 for i in starts]
        error = statistics.stdev(overhead) / len(overhead) ** 0.5 if len(overhead) > 1 else float("nan")
        ceiling = statistics.median(self.ceiling)
        print(f"\n{len(trained)} pairs of steps of {self.tokens} tokens, {trainer.precision}, {pl_module.device}")
        for name, seconds in (("lmkit fit", trained), ("bare torch", bare)):
            rate = self.tokens / statistics.median(seconds)
            print(f"  {name:10}  {rate:10,.0f} tokens/s  {rate * self.flops / ceiling:6.1%} of the ceiling")
        print(f"  ceiling     {ceiling / self.flops:10,.0f} tokens/s  ({ceiling / 1e9:,.0f} GFLOP/s in {self.dtype})")
        print(f"  overhead    {statistics.median(overhead):+.2%} (median of {len(overhead)} blocks of {every} steps;")
        print(f"              mean {statistics.mean(overhead):+.2%}, standard error {error:.2%})")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
