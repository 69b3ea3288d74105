"""What SFT, DPO and adapters teach: runs the recipes one after another, and measures each on functions held out.

usage: python -m benchmarks.assistant [FOLDER, which keeps runs/; one that has a run already does not make it anew]

Measured of each run: bits per byte of the right answers to questions about functions that no run was trained on, and
the share of held-out pairs of which the right answer is the likelier one, by the log-probability of the whole, and of
a token.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

RECIPES = Path(__file__).parent.parent / "recipes"
LORA = ["-c", "adapters/lora.yaml"]
RUNS = {
    "gpt-small": ["-c", "gpt-small.yaml"],
    "sft": ["-c", "sft.yaml"],
    "sft-lora": ["-c", "sft.yaml", *LORA],
    "dpo": ["-c", "dpo.yaml"],
    "dpo-lora": ["-c", "dpo.yaml", *LORA],
    "kto": ["-c", "kto.yaml"],
}
"""Each run, in an order in which it finds what it starts from, and what it is told."""

MEASURES = {
    "bits per byte": ("sft.yaml", [], "bits_per_byte"),
    "whole": ("dpo.yaml", ["--model.preference_loss=CPO"], "accuracy"),
    "a token": ("dpo.yaml", ["--model.preference_loss=SimPO"], "accuracy"),
}
"""Each figure, by which recipe and options it is measured, and its name there. CPO's rewards are log-probabilities, and
SimPO's are those a token.
"""


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    print(f"{'run':10}  {'minutes':>7}  {'  '.join(f'{name:>13}' for name in MEASURES)}")
    for name, options in RUNS.items():
        minutes = "-"
        if not (folder / "runs" / name).exists():
            began = time.perf_counter()
            _lmkit(folder, "fit", f"--name={name}", *options)
            minutes = f"{(time.perf_counter() - began) / 60:.1f}"
        figures = [_measured(folder, name, *measure) for measure in MEASURES.values()]
        print(f"{name:10}  {minutes:>7}  {'  '.join(f'{figure:13.3f}' for figure in figures)}", flush=True)


def _measured(folder: Path, run: str, recipe: str, options: list[str], name: str) -> float:
    said = _lmkit(folder, "validate", "-c", recipe, f"--model.init_from=runs/{run}", *options)
    found = re.search(rf"val/{name}\W+([\d.]+)", said)
    if not found:
        raise SystemExit(f"no {name} in what validate said:\n{said[-2000:]}")
    return float(found[1])


def _lmkit(folder: Path, command: str, *options: str) -> str:
    """Runs it and returns what it said."""
    told = [str(RECIPES / option) if option.endswith(".yaml") else option for option in options]
    done = subprocess.run(["lmkit", command, *told], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"lmkit {command} {' '.join(told)} failed:\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()
