"""`lmkit export`: a run or checkpoint becomes a Hugging Face folder, with proof that it is the same model."""

import time
from collections.abc import Sequence
from typing import Literal

from lmkit.cli.parser import Parser
from lmkit.hf.exporting import DTYPES, SHARD, export


def run(arguments: Sequence[str]) -> None:
    """Parses the command line and exports."""
    options = _parser().parse(arguments[1:])
    began = time.perf_counter()
    dtype = DTYPES[options.dtype] if options.dtype else None
    done = export(
        options.source, options.out, dtype, options.shard, options.license, tuple(options.plugins), merge=options.merge
    )
    seconds = time.perf_counter() - began
    what = f"a {done.family}" if done.family else "a network with its own modelling code (trust_remote_code)"
    print(
        f"{options.out}: {what}, {done.parameters:,} parameters, {done.bytes / 1e9:.2f} GB, in {seconds:.1f} s\n"
        f"\n{done.receipt.table()}"
    )


def _parser() -> Parser:
    parser = Parser(
        prog="lmkit export", description="Exports a trained network as a folder that transformers loads, and proves it."
    )
    parser.add_argument("source", type=str, help="a .ckpt file, or a run's folder: its newest version's best")
    parser.add_argument("out", type=str, help="the folder to make")
    kinds = Literal["float32", "bfloat16", "float16"]
    parser.add_argument("--dtype", type=kinds | None, default=None, help="of the weights; none as they are")
    parser.add_argument("--shard", type=int, default=SHARD, help="the most bytes of a file of weights")
    parser.add_argument("--license", type=str | None, default=None, help="for the model card, such as apache-2.0")
    parser.add_argument("--merge", action="store_true", help="merge an adapter instead of writing it for peft")
    parser.add_argument("--plugins", type=list[str], default=[], help="plugin files, where the run's own have moved")
    return parser
