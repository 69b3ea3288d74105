"""The two sides of `benchmarks.post_training`, each in a process of its own: prints one line with what it measured."""

import argparse
import ctypes
import json
import os
import resource
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

RESULT = "result: "
WARM_UP = 2
THREADS = 2


class Clock:
    """Times of steps, the real tokens of each, and the most memory, of all and of the steps after the warm-up."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.tokens: list[float] = []
        self._before = 0

    def tick(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        if len(self.times) == WARM_UP:
            self._before = _most_held()
            _forget_most_held()

    def tell(self) -> None:
        steps = [later - earlier for earlier, later in pairwise(self.times[WARM_UP:])]
        rate = statistics.mean(self.tokens) / statistics.median(steps)
        held = _most_held()
        told = {"rate": round(rate, 1), "seconds": round(statistics.median(steps), 4)}
        told |= {"gib": round(max(self._before, held) / 2**30, 3), "gib_of_steps": round(held / 2**30, 3)}
        print(RESULT + json.dumps(told), flush=True)


def _most_held() -> int:
    """The most bytes held at once, of the device or of the process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _forget_most_held() -> None:
    """Has what is held now be the most so far."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        ctypes.CDLL(None).malloc_trim(0)  # what is free already is given back, by both sides
        Path("/proc/self/clear_refs").write_text("5")  # Linux's way


def run_trl(options: argparse.Namespace) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    clock = Clock()

    class Tick(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            clock.tick()

    model_folder = str(options.folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.pad_token = "<|endoftext|>"
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    model.train()
    lines = (options.folder / "rows.jsonl").read_text().splitlines()
    rows = Dataset.from_list([json.loads(line) for line in lines])
    with tempfile.TemporaryDirectory() as out:
        settings = _settings(options, out)
        beside = {"train_dataset": rows, "processing_class": tokenizer, "callbacks": [Tick()]}
        if options.lora:
            from peft import LoraConfig

            beside["peft_config"] = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
        if options.kind == "sft":
            from trl import SFTConfig, SFTTrainer

            trainer = SFTTrainer(model, SFTConfig(packing=True, **settings), **beside)
        else:
            from trl import DPOConfig, DPOTrainer

            if options.stored:  # which it does for all rows, seen or not
                beside["train_dataset"] = rows.shuffle(seed=0).select(range(options.steps * options.batch))
            config = DPOConfig(precompute_ref_log_probs=options.stored, **settings)
            trainer = DPOTrainer(model, args=config, **beside)
        collate = trainer.data_collator

        def counted(examples: list[Any]) -> Any:
            batch = collate(examples)
            mask = batch.get("attention_mask")
            real = batch["input_ids"].numel() if mask is None else mask.sum()
            clock.tokens.append(float(real))
            return batch

        trainer.data_collator = counted
        trainer.train()
    clock.tell()


def _settings(options: argparse.Namespace, out: str) -> dict[str, Any]:
    """What both of TRL's trainers are told."""
    return {
        "output_dir": out,
        "max_steps": options.steps,
        "per_device_train_batch_size": options.batch,
        "max_length": options.context,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1000,
        "bf16": options.precision == "bf16-mixed",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": False,
        "dataloader_num_workers": 0,
    }


def run_lmkit(options: argparse.Namespace, rest: list[str]) -> None:
    from lightning import Callback

    from lmkit.cli import defaults
    from lmkit.cli.main import main as lmkit

    clock = Clock()

    class Tick(Callback):
        def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            clock.tick()
            data = trainer.datamodule
            if options.kind == "sft":
                rows = batch.documents.max(dim=1).values  # padding has the last number, where there is some
                clock.tokens.append(float((batch.inputs != data.end_of_document).sum() + rows.sum()))
            else:
                shared, *answers = data.train.lengths[batch.examples.cpu().unique().numpy()].T
                clock.tokens.append(float(len(answers) * shared.sum() + sum(answer.sum() for answer in answers)))

    usual = defaults._callbacks
    defaults._callbacks = lambda *arguments: [*usual(*arguments), Tick()]  # type: ignore[assignment]
    task, data = ("SFT", "Chat") if options.kind == "sft" else ("PreferenceOptimization", "Preferences")
    with tempfile.TemporaryDirectory() as out:
        fixed = {
            "model": task,
            "model.init_from": options.folder / "model",
            "model.optimizer": "torch.optim.AdamW",
            "model.optimizer.lr": 5e-5,
            "model.optimizer.fused": "true",
            "model.schedule": "Constant",
            "data": data,
            "data.source": options.folder / "rows.jsonl",
            "data.context": options.context,
            "data.batch_size": options.batch,
            "trainer.max_steps": options.steps,
            "trainer.precision": options.precision,
            "trainer.gradient_clip_val": 1.0,
            "trainer.limit_val_batches": 0,
            "trainer.enable_checkpointing": "false",
            "trainer.default_root_dir": out,
        }
        code = lmkit(["fit", *(f"--{key}={value}" for key, value in fixed.items()), *rest])
    if code:
        raise SystemExit(code)
    clock.tell()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["trl", "lmkit"])
    parser.add_argument("--kind", choices=["sft", "dpo"])
    for name in ("steps", "batch", "context"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--precision")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--lora", action="store_true")
    options, rest = parser.parse_known_args()
    torch.set_num_threads(THREADS)
    if options.side == "trl":
        run_trl(options)
    else:
        run_lmkit(options, rest)


if __name__ == "__main__":
    main()
