"""How much of the machine training uses: `lmkit fit`'s loop, a bare torch loop over the same network, and the ceiling.

usage: python -m benchmarks.train_step [--steps 40] [any option of lmkit fit]

The real command runs. After each of its steps a copy of the network takes the same step in a bare loop, so that the
two are paired however the machine's speed drifts; the ceiling, a product of two 2048 x 2048 matrices, is taken between.
What is left out of the bare loop is all that Lightning and lmkit add: loading, callbacks, logging, progress.
"""

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback

from lmkit.callbacks.peak import measured_flops
from lmkit.optim import decay_by_rank

ROOT = Path(__file__).parent.parent
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
        overhead = sorted(one / other - 1 for one, other in zip(trained, bare, strict=True))
        quarter = len(overhead) // 4
        ceiling = statistics.median(self.ceiling)
        print(f"\n{len(trained)} pairs of steps of {self.tokens} tokens, {trainer.precision}, {pl_module.device}")
        for name, seconds in (("lmkit fit", trained), ("bare torch", bare)):
            rate = self.tokens / statistics.median(seconds)
            print(f"  {name:10}  {rate:10,.0f} tokens/s  {rate * self.flops / ceiling:6.1%} of the ceiling")
        print(f"  ceiling     {ceiling / self.flops:10,.0f} tokens/s  ({ceiling / 1e9:,.0f} GFLOP/s in {self.dtype})")
        print(f"  overhead    {statistics.median(overhead):+.2%} (median of the pairs;")
        print(f"              middle half {overhead[quarter]:+.2%} to {overhead[-quarter - 1]:+.2%})")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    from lmkit.cli.main import main as lmkit

    parser = argparse.ArgumentParser(description="Times lmkit fit against a bare loop and the machine's ceiling.")
    parser.add_argument("--steps", type=int, default=40)
    known, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        fixed = [
            f"--plugins={Path(__file__).resolve()}",
            "--trainer.callbacks=Beside",
            f"--trainer.max_steps={known.steps + WARM_UP}",
            "--trainer.limit_val_batches=0",
            "--trainer.enable_checkpointing=false",
            "--model.schedule=Constant",
            f"--trainer.default_root_dir={folder}",
        ]
        code = lmkit(["fit", "--config", str(ROOT / "recipes/gpt-small.yaml"), *fixed, *options])
    raise SystemExit(code)


if __name__ == "__main__":
    main()
