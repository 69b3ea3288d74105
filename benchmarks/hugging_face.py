"""How fast a model comes in and goes out, beside a plain copy of the same files.

    python -m benchmarks.hugging_face [--rounds 5] [--folder DIR]

A Llama of 0.74 billion random parameters in bfloat16 (1.48 GB in two files). Each round copies its files, imports them
(`import_folder`) and writes them again from a checkpoint (what `export` does before the proof), another one first each
time; given are medians, and ratios to the copy of the same round. All end with what they wrote on the disk (fsync).
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from lmkit.data.tokenizer import END_OF_DOCUMENT, train
from lmkit.hf.importing import import_folder
from lmkit.hf.shards import write_shards
from lmkit.hf.source import Checkpoint
from lmkit.hf.tables.anatomy import recipe_of
from lmkit.hf.tables.families import FAMILIES
from lmkit.hf.tokens.files import write
from lmkit.hf.tokens.made_here import from_lmkit
from lmkit.hf.weights import Ties
from lmkit.hf.writing import write_model
from lmkit.network import Decoder
from lmkit.registry import build

SHARD = 1_000_000_000
CONFIG = {
    "model_type": "llama",
    "vocab_size": 8192,
    "hidden_size": 2048,
    "intermediate_size": 5504,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "hidden_act": "silu",
}


def make(folder: Path) -> int:
    """A folder of random weights; its bytes."""
    family = FAMILIES["llama"]
    anatomy = family.read(CONFIG)
    with torch.device("meta"):
        network = build(Callable[[], Decoder], recipe_of(anatomy))()
    ours = {name: tensor.bfloat16() for name, tensor in network.state_dict().items()}
    ties = Ties(family, anatomy, ours)

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for name, shape in ties.shapes.items():
            yield name, torch.randn(shape, dtype=torch.bfloat16) * 0.02

    folder.mkdir()
    sizes = ties.sizes(ours)
    write_shards(folder, tensors(), sizes, SHARD)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    tokenizer = train(iter(["some words " * 50]), 300)
    write(folder, from_lmkit(tokenizer, tokenizer.token_to_id(END_OF_DOCUMENT), CONFIG["max_position_embeddings"]))
    return sum(sizes.values())


def timed(work: Callable[[Path], object], written: Path) -> float:
    """Seconds of some work until what it writes is on the disk."""
    os.sync()
    began = time.perf_counter()
    work(written)
    for path in written.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    return time.perf_counter() - began


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure; none for a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as made:
        where = Path(made)
        size = make(where / "model")
        import_folder(where / "model", where / "imported")
        seconds: dict[str, list[float]] = {"copy": [], "import": [], "export": []}
        works: dict[str, Callable[[Path], object]] = {
            "copy": lambda out: shutil.copytree(where / "model", out),
            "import": lambda out: import_folder(where / "model", out),
            "export": lambda out: (out.mkdir(), write_model(Checkpoint(where / "imported"), out, SHARD)),
        }
        for number in range(options.rounds):
            for name in [*works, *works][number % len(works) :][: len(works)]:
                seconds[name].append(timed(works[name], where / name))
                shutil.rmtree(where / name)
    print(f"{size / 1e9:.2f} GB, {options.rounds} rounds\n\n| | GB a second | of a copy |\n|---|---|---|")
    for name, taken in seconds.items():
        ratios = [one / other for one, other in zip(seconds["copy"], taken, strict=True)]
        print(f"| {name} | {size / 1e9 / statistics.median(taken):.2f} | {statistics.median(ratios):.2f} |")


if __name__ == "__main__":
    main()
