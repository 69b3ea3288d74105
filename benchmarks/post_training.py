"""SFT and DPO beside TRL: real tokens a second and peak memory, of the same model on the same data.

usage: python -m benchmarks.post_training {sft,dpo} [--rounds 3] [--steps 8] [--batch 8] [--context 512]
       [--precision 32-true|bf16-mixed] [--recipe recipes/llama-small.yaml] [any further option of lmkit fit]

A network of the recipe with random weights is exported to a Hugging Face folder, from which both start; the rows are
questions about the standard library, with its docstring and another's as right and wrong answers. Both sides have a
process of their own in every round, by turns; a step's time is the median of its process, without the first two. Real
tokens are those of the conversations, a prompt counted once for each answer, never padding. TRL packs for SFT, its best
setting; `--stored` has it compute the reference's log-probabilities beforehand, as lmkit does.
"""

import argparse
import importlib
import inspect
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

from benchmarks.sides import RESULT
from lmkit.cli.main import main as lmkit
from lmkit.data.chat_templates import Plain

ROOT = Path(__file__).parent.parent
LONGEST = 2000  # characters
MODULES = (  # well-known ones, of some thousand docstrings
    *("argparse", "asyncio", "bisect", "calendar", "collections", "contextlib", "csv", "datetime", "decimal", "email"),
    *("enum", "fractions", "functools", "heapq", "http.client", "inspect", "itertools", "json", "logging", "math"),
    *("os", "pathlib", "random", "re", "shutil", "socket", "sqlite3", "statistics", "string", "subprocess", "tarfile"),
    *("tempfile", "textwrap", "threading", "typing", "unittest", "urllib.request", "xml.dom.minidom", "zipfile"),
)


def main() -> None:
    options, rest = _parser().parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", options.kind)
        write_model(folder, options.recipe)
        told = ["--kind", options.kind, "--steps", options.steps, "--batch", options.batch]
        told += ["--context", options.context, "--precision", options.precision, "--folder", folder]
        found: dict[str, list[dict[str, float]]] = {"trl": [], "lmkit": []}
        for number in range(options.rounds):
            for side in sorted(found, reverse=bool(number % 2)):
                own = (["--stored"] if options.stored else []) if side == "trl" else rest
                found[side].append(run_side([side, *map(str, told), *own]))
                print(f"  {number + 1}. {side}: {json.dumps(found[side][-1])}", flush=True)
    _tell(options, found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Times SFT and DPO beside TRL.")
    parser.add_argument("kind", choices=["sft", "dpo"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8, help="packed rows, or pairs, a step")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--recipe", default=str(ROOT / "recipes/llama-small.yaml"))
    parser.add_argument("--stored", action="store_true", help="TRL computes its reference's log-probabilities first")
    return parser


def write_rows(path: Path, kind: str) -> None:
    """The same rows for both sides."""
    documented = sorted({text: name for name, text in _docstrings()}.items(), key=itemgetter(1))
    with path.open("w", encoding="utf-8") as file:
        for number, (text, name) in enumerate(documented):
            other = documented[(7 * number + 3) % len(documented)][0]
            prompt, right, wrong = (
                [{"role": role, "content": said}]
                for role, said in (("user", f"What does {name} do?"), ("assistant", text), ("assistant", other))
            )
            last = {"completion": right} if kind == "sft" else {"chosen": right, "rejected": wrong}
            file.write(json.dumps({"prompt": prompt, **last}) + "\n")


def _docstrings() -> Iterator[tuple[str, str]]:
    """Names and docstrings of what well-known modules have: of 40 to 2,000 characters, as different as in real life."""
    for module in map(importlib.import_module, MODULES):
        for name, value in inspect.getmembers(module, callable):
            if len(text := inspect.getdoc(value) or "") >= 40:
                yield f"{module.__name__}.{name}", text[:LONGEST]


def write_model(folder: Path, recipe: str, *options: str) -> None:
    """A network as a Hugging Face folder, with a chat template; of a recipe, and options of `lmkit fit`."""
    run, model = folder / "run", folder / "model"
    fit = ["fit", "--config", recipe, f"--trainer.default_root_dir={run}", "--name=base", "--trainer.max_steps=1"]
    quick = ["--trainer.limit_val_batches=1", "--data.batch_size=1", "--model.schedule=Constant"]
    if lmkit([*fit, *quick, *options]) or lmkit(["export", str(run / "base"), str(model)]):
        raise SystemExit("no model to begin with")
    (model / "chat_template.jinja").write_text(Plain().text)


def run_side(arguments: list[str]) -> dict[str, float]:
    """What a side measures in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sides", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(RESULT)]
    if done.returncode or not lines:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(lines[-1].removeprefix(RESULT))
    return result


def _tell(options: argparse.Namespace, found: dict[str, list[dict[str, float]]]) -> None:
    print(f"{options.kind}, {options.precision}, batch {options.batch}, context {options.context}:")
    for side, results in found.items():
        rate, memory = (statistics.median(result[key] for result in results) for key in ("rate", "gib"))
        print(f"  {side:6} {rate:8,.0f} real tokens/s  {memory:5.2f} GiB")
    pairs = list(zip(found["lmkit"], found["trl"], strict=True))
    rates = [own["rate"] / other["rate"] for own, other in pairs]
    memory = [own["gib"] / other["gib"] for own, other in pairs]
    print(f"  lmkit / TRL: speed {statistics.median(rates):.2f} ({min(rates):.2f} to {max(rates):.2f}), ", end="")
    print(f"memory {statistics.median(memory):.2f}")


if __name__ == "__main__":
    main()
