"""From a Hugging Face folder to one of lmkit, which every command takes as it takes a run's."""

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from tokenizers import Tokenizer

from lmkit import checkpoints
from lmkit.checkpoints import KEY, NETWORK
from lmkit.data.whole_folder import whole_folder
from lmkit.errors import UserError
from lmkit.hf.model import Model
from lmkit.hf.tokens import files as tokenizer_files
from lmkit.hf.tokens.files import TokenizerFiles

IMPORTED = "imported"
"""Where a checkpoint keeps what came with a network: its tokenizer's files and its config."""

TASK = "Pretraining"


class Imported(NamedTuple):
    """What has been imported, in words and numbers.

    Attributes:
        family: its `model_type`.
        parameters: how many numbers its network has.
        bytes: of its weights.
        dtypes: of its weights.
        packing: how they were packed in the folder, such as `mxfp4`; none if they were not.
        notes: what has been left out or does not fit together, a line each.
    """

    family: str
    parameters: int
    bytes: int
    dtypes: tuple[str, ...]
    packing: str | None
    notes: tuple[str, ...]


def import_folder(
    folder: str | Path,
    out: str | Path,
    allow_pickle: bool = False,
    tokenizer: str | Path | None = None,
    plugins: tuple[str, ...] = (),
) -> Imported:
    """Writes OUT/config.yaml, a recipe of the network, and OUT/checkpoints/last.ckpt, with its weights and tokenizer.

    Args:
        folder: of the model.
        out: a folder that is not there yet.
        allow_pickle: whether weights are read from a pickle where there are no safetensors.
        tokenizer: a folder of the tokenizer, or the tokenizer.json in it; none for the model's own.
        plugins: that the network needs, which are loaded by now.

    Raises:
        UserError: the folder is of no known family, or not whole, or `out` is there already. Nothing is written then.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{out} is there already: give a folder that is not, or remove it")
    model = Model(folder, allow_pickle)
    recipe = {
        "name": out.name,
        "plugins": list(plugins),
        "model": {"class_path": TASK, "init_args": {"network": model.recipe}},
    }
    files = tokenizer_files.read(folder_of(Path(tokenizer)) if tokenizer else Path(folder))
    state = {f"{NETWORK}{name}": tensor for name, tensor in model.tensors().items()}
    with whole_folder(out, remedy="choose another OUT", same=False) as part:
        (part / "config.yaml").write_text(_recipe_text(recipe, model.family.name), encoding="utf-8")
        held = _checkpoint(recipe, model, files, state)
        checkpoints.write(held, part / "checkpoints" / "last.ckpt", "choose another OUT")
    tensors = state.values()
    return Imported(
        model.family.name,
        sum(tensor.numel() for tensor in tensors),
        sum(tensor.nbytes for tensor in tensors),
        tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors})),
        model.folder.packing.method if model.folder.packing else None,
        (*model.notes, *_beyond(files, model)),
    )


def folder_of(path: Path) -> Path:
    """The folder of a tokenizer.json, which is told with the files beside it, or a folder itself.

    Raises:
        UserError: it is another file.
    """
    if not path.is_file():
        return path
    if path.name != tokenizer_files.TOKENIZER:
        raise UserError(
            f"{path} is a file, but not called {tokenizer_files.TOKENIZER}: give a file of that name, or its folder"
        )
    return path.parent


def _beyond(files: TokenizerFiles, model: Model) -> list[str]:
    """Whether the tokenizer has ids that the network has no rows for."""
    rows = model.shapes["embedding.weight"].size(0)
    most = max(Tokenizer.from_str(files.tokenizer).get_vocab(with_added_tokens=True).values())
    if most < rows:
        return []
    return [f"the tokenizer has ids up to {most}, but the network has {rows} rows: it reads no text with the others"]


def kept_of(model: Model, files: TokenizerFiles) -> dict[str, Any]:
    """What a checkpoint keeps of a folder beside its weights, so that it can be exported as it came."""
    return {"config": model.folder.config, "files": asdict(files)}


def _recipe_text(recipe: dict[str, Any], family: str) -> str:
    said = (
        f"# A network of model_type {family}, imported from a Hugging Face folder. To train it on, name the folder of\n"
        "# this file as model.init_from of a recipe.\n"
    )
    return said + yaml.safe_dump(recipe, sort_keys=False)


def _checkpoint(
    recipe: dict[str, Any], model: Model, files: TokenizerFiles, state: dict[str, torch.Tensor]
) -> dict[str, Any]:
    """As one of a run, but for what concerns training."""
    return {
        "state_dict": state,
        "global_step": 0,
        "epoch": 0,
        "pytorch-lightning_version": version("lightning"),
        KEY: {
            "recipe": recipe,
            "tokenizer": files.tokenizer,
            "end_of_document": files.end_of_document,
            IMPORTED: kept_of(model, files),
        },
    }
