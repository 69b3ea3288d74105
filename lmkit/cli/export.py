"""`lmkit export`: a run or checkpoint becomes a Hugging Face folder, with proof that it is the same model, or GGUF."""

import time
from collections.abc import Sequence
from typing import Any, Literal

from lmkit.cli.parser import Parser
from lmkit.errors import UserError
from lmkit.hf.exporting import BASE, DTYPES, SHARD, export
from lmkit.hf.gguf import Kind
from lmkit.hf.gguf.exporting import export_gguf

OF_FOLDERS = {"dtype": None, "shard": SHARD, "license": None}
OF_FILES = {"kind": "f16"}
"""Options of one form only, with their defaults."""


def run(arguments: Sequence[str]) -> None:
    """Parses the command line and exports."""
    options = _parser().parse(arguments[1:])
    other = OF_FILES if options.to == "hf" else OF_FOLDERS
    if given := [name for name, default in other.items() if options[name] != default]:
        raise UserError(f"--{given[0]} is not for --to {options.to}: leave it out")
    began = time.perf_counter()
    told = _folder(options) if options.to == "hf" else _file(options)
    first, *rest = told
    print("\n".join([f"{options.out}: {first}, in {time.perf_counter() - began:.1f} s", *rest]))


def _folder(options: Any) -> list[str]:
    dtype = DTYPES[options.dtype] if options.dtype else None
    plugins = tuple(options.plugins)
    done = export(options.source, options.out, dtype, options.shard, options.license, plugins, merge=options.merge)
    what = f"a {done.family}" if done.family else "a network with its own modelling code (trust_remote_code)"
    what = f"an adapter for peft, and in {BASE}/ {what}" if done.adapter else what
    notes = [f"  note: the tokenizer's class is {done.remark}"] if done.remark else []
    return [f"{what}, {done.parameters:,} parameters, {done.bytes / 1e9:.2f} GB", *notes, "", done.receipt.table()]


def _file(options: Any) -> list[str]:
    done = export_gguf(options.source, options.out, options.kind, tuple(options.plugins), options.merge)
    size = f"{done.parameters:,} parameters, {done.bytes / 1e9:.2f} GB"
    return [f"a {done.architecture} of llama.cpp, {size}", *(f"  note: {remark}" for remark in done.remarks)]


def _parser() -> Parser:
    parser = Parser(
        prog="lmkit export", description="Exports a trained network as a folder that transformers loads, and proves it."
    )
    dtypes = Literal["float32", "bfloat16", "float16"]
    parser.add_argument("source", type=str, help="a .ckpt file, or a run's folder: its newest version's best")
    parser.add_argument("out", type=str, help="the folder to make, or the file")
    parser.add_argument("--to", type=Literal["hf", "gguf"], default="hf", help="a Hugging Face folder, or a GGUF file")
    parser.add_argument("--dtype", type=dtypes | None, default=None, help="of a folder's weights; none as they are")
    parser.add_argument("--shard", type=int, default=SHARD, help="the most bytes of a file of weights in a folder")
    parser.add_argument("--license", type=str | None, default=None, help="for the model card, such as apache-2.0")
    parser.add_argument("--kind", type=Kind, default="f16", help="of a GGUF file's matrices")
    parser.add_argument("--merge", action="store_true", help="merge an adapter instead of writing it for peft")
    parser.add_argument("--plugins", type=list[str], default=[], help="plugin files, where the run's own have moved")
    return parser
