"""What DPO costs: real tokens a second and peak memory, in full, by LoRA and by QLoRA, with each kind of reference.

usage: python -m benchmarks.preferences [--rounds 3] [--steps 6] [--batch 8] [--context 512] [--precision bf16-mixed]
       [--dim 768] [--depth 12]

A network with the shape of llama-small's but for these sizes; rows, steps and memory are those of
`benchmarks.post_training`. Each way has a process of its own in every round, and the first row is what the others are
beside. Memory is the most of the whole run, and the most while steps are taken; on a CPU it is that of the process, of
which Python and its packages take some 0.6 GiB.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.post_training import ROOT, run_side, write_model, write_rows

LORA = "{class_path: LoRA, init_args: {rank: 16, alpha: 32}}"
WAYS = {
    "TRL, in full": ["trl"],
    "TRL, in full, computed first": ["trl", "--stored"],
    "TRL, LoRA, adapters off": ["trl", "--lora"],
    "in full, stored": ["lmkit"],
    "in full, frozen copy": ["lmkit", "--model.reference=FrozenCopy"],
    "LoRA, stored": ["lmkit", f"--model.transforms=[{LORA}]"],
    "LoRA, adapters off": ["lmkit", f"--model.transforms=[{LORA}]", "--model.reference=AdaptersOff"],
    "QLoRA, stored": ["lmkit", f"--model.transforms=[NF4, {LORA}]"],
    "QLoRA, adapters off": ["lmkit", f"--model.transforms=[NF4, {LORA}]", "--model.reference=AdaptersOff"],
}
"""Ways to optimize preferences, each a side and what it is told."""


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", "dpo")
        sizes = {"dim": options.dim, "depth": options.depth, "heads": options.dim // 64}
        shape = [f"--model.network.{name}={size}" for name, size in sizes.items()]
        write_model(folder, str(ROOT / "recipes/llama-small.yaml"), *shape)
        told = ["--kind", "dpo", "--folder", folder]
        for key in ("steps", "batch", "context", "precision"):
            told += [f"--{key}", getattr(options, key)]
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for number in range(options.rounds):
            for way, (side, *own) in WAYS.items():
                found[way].append(run_side([side, *map(str, told), *own]))
                print(f"  {number + 1}. {way}: {json.dumps(found[way][-1])}", flush=True)
    _tell(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="What DPO costs in speed and memory.")
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="bf16-mixed")
    for key, usual in {"rounds": 3, "steps": 6, "batch": 8, "context": 512, "dim": 768, "depth": 12}.items():
        parser.add_argument(f"--{key}", type=int, default=usual)
    return parser


def _tell(found: dict[str, list[dict[str, float]]]) -> None:
    first, *_ = found.values()
    print("| way | real tokens/s | beside the first | GiB in all | GiB of steps |\n|---|---|---|---|---|")
    for way, results in found.items():
        keys = ("rate", "gib", "gib_of_steps")
        rate, most, of_steps = (statistics.median(result[key] for result in results) for key in keys)
        beside = statistics.median(own["rate"] / other["rate"] for own, other in zip(results, first, strict=True))
        print(f"| {way} | {rate:,.0f} | {beside:.2f} | {most:.2f} | {of_steps:.2f} |")


if __name__ == "__main__":
    main()
