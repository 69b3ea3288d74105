"""How much of the machine training uses: `lmkit fit`'s loop, a bare torch loop over the same network, and the ceiling.

usage: python -m benchmarks.train_step [--steps 165] [any option of lmkit fit]

The real command runs. After each of its steps a copy of the network takes the same step in a bare loop, so that the
two are paired however the machine's speed drifts; the ceiling, a product of two 2048 x 2048 matrices, is taken between.
What is left out of the bare loop is all that Lightning and lmkit add: loading, callbacks, logging, progress. Its
overhead is taken over blocks of as many steps as lie between two that log, so that every block pays for all of it.
"""

import argparse
import tempfile
from pathlib import Path

from lmkit.cli.main import main as lmkit

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description="Times lmkit fit against a bare loop and the machine's ceiling.")
    parser.add_argument("--steps", type=int, default=165, help="the first five warm up")
    known, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        fixed = [
            f"--plugins={ROOT / 'benchmarks/beside.py'}",
            "--trainer.callbacks=Beside",
            f"--trainer.max_steps={known.steps}",
            "--trainer.limit_val_batches=0",
            "--trainer.enable_checkpointing=false",
            "--model.schedule=Constant",
            f"--trainer.default_root_dir={folder}",
        ]
        code = lmkit(["fit", "--config", str(ROOT / "recipes/gpt-small.yaml"), *fixed, *options])
    raise SystemExit(code)


if __name__ == "__main__":
    main()
