"""`lmkit import`: a model of Hugging Face becomes one of lmkit."""

import time
from collections.abc import Sequence

from lmkit.cli.parser import Parser
from lmkit.cli.recipes import read_recipes
from lmkit.hf.importing import import_folder
from lmkit.kinds import load


def run(arguments: Sequence[str]) -> None:
    """Parses the command line and imports a folder."""
    recipes = read_recipes(arguments)
    options = _parser().parse(recipes.arguments[1:])
    load(recipes.plugins)
    began = time.perf_counter()
    plugins = tuple(recipes.plugins)
    done = import_folder(options.folder, options.out, options.allow_pickle, options.tokenizer, plugins)
    seconds = time.perf_counter() - began
    dtypes = ", ".join(done.dtypes) + (f" (unpacked from {done.packing})" if done.packing else "")
    notes = "".join(f"  note: {note}\n" for note in done.notes)
    print(
        f"{options.folder}: {done.family}, {done.parameters:,} parameters in {dtypes}, "
        f"{done.bytes / 1e9:.2f} GB in {seconds:.1f} s ({done.bytes / 1e9 / seconds:.2f} GB/s)\n{notes}"
        f"{options.out} holds its recipe (config.yaml), weights and tokenizer. Now:\n"
        f'  lmkit generate {options.out} --prompt "The"\n'
        f"  lmkit fit --config RECIPE --model.init_from={options.out}\n"
        f"  lmkit export {options.out} FOLDER"
    )


def _parser() -> Parser:
    parser = Parser(
        prog="lmkit import", description="Imports a model from a folder as transformers' save_pretrained writes it."
    )
    parser.add_argument("folder", type=str, help="the folder, with config.json, weights and tokenizer.json")
    parser.add_argument("out", type=str, help="a folder to make, for lmkit's commands")
    parser.add_argument(
        "--allow-pickle", action="store_true", help="read pytorch_model.bin where there are no safetensors"
    )
    parser.add_argument(
        "--tokenizer",
        type=str | None,
        default=None,
        help="a folder of the tokenizer, or its tokenizer.json, if not the same",
    )
    parser.add_argument("--plugins", type=list[str], default=[], help="files or modules of the plugins it uses")
    return parser
