"""A run that starts from another network: that network's recipe, and its tokenizer, in place of the recipe's own.

What the command line says of `model.network` comes after, so that a window or a longer context can still be given.
"""

import filecmp
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from tokenizers import Tokenizer

from lmkit.cli.recipes import Recipes
from lmkit.data import tokenizer as tokenizing
from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.data.prepare import cache_root
from lmkit.data.whole_folder import whole_folder
from lmkit.errors import UserError
from lmkit.hf.start import start_from
from lmkit.hf.start_kind import Start
from lmkit.hf.tokens.files import TokenizerFiles, write
from lmkit.registry import build, classes
from lmkit.tasks.distillation import TEACHER
from lmkit.tasks.teachers import check_teaches, found_teacher
from lmkit.transforms import Adapter, Transform

ROWS = 64
"""The number of a network's token ids is raised to a multiple of it, which matrix products like."""

LEADING = ("-c", "--config", "--model")
"""Options that the network has to come after: they say which task takes it, and their network is replaced."""


def start_of(recipes: Recipes) -> Start | None:
    """Where the network starts; a run that goes on from its checkpoint, and is told its network, needs that no more.

    Raises:
        UserError: nothing can start from there.
    """
    goes_on = any(argument.partition("=")[0] == "--ckpt_path" for argument in recipes.arguments)
    if recipes.init_from is None or (goes_on and recipes.has_network and not Path(recipes.init_from).exists()):
        return None
    start = start_from(recipes.init_from)
    for note in start.notes:
        rank_zero_info(f"{recipes.init_from}: {note}")
    return start


def with_network(arguments: Sequence[str], start: Start) -> list[str]:
    """The command line with the network of a start, behind what it takes the place of."""
    after = 1  # the command
    for number, argument in enumerate(arguments):
        option, given, _ = argument.partition("=")
        if option in LEADING:
            after = number + (1 if given else 2)
    network = f"--model.network={json.dumps(start.recipe)}"
    return [*arguments[:after], network, *arguments[after:]]


def settle(config: Any, start: Start | None) -> None:
    """Has a run use the tokenizer of its start.

    Args:
        config: the recipe, parsed.
        start: where the network starts.

    Raises:
        UserError: the recipe names another tokenizer, or a start by another spelling than those that are looked for.
    """
    if start:
        _take_tokenizer(config.data, start)
        _make_room(config.model, config.data)
    elif (told := config.model.get("init_args", {}).get("init_from")) and not config.ckpt_path:
        raise UserError(f"model.init_from is {told!r}, but is said too late to be heard: give --model.init_from={told}")


def take_teachers_tokenizer(config: Any, kept: Mapping[str, Any], run: Path) -> None:
    """Has a run without a tokenizer of its own use that of its teacher.

    Args:
        config: the recipe, parsed.
        kept: what the checkpoint holds that the run goes on from; nothing where it begins.
        run: its folder.

    Raises:
        UserError: the teacher is gone, or has changed.
    """
    teacher, options = config.model.get("init_args", {}).get("teacher"), config.data.get("init_args", {})
    if isinstance(teacher, str) and options.get("tokenizer", "") is None:
        place = found_teacher(teacher, kept[TEACHER], run).path if TEACHER in kept else teacher
        start = start_from(place)
        check_teaches(start)
        options["tokenizer"] = str(_kept(start.tokenizer()))
        rank_zero_info(f"the tokenizer is the teacher's, of {place}")


def keep_tokenizer(data: Any, run: Path) -> None:
    """Has a run hold the tokenizer of its start or its teacher, so that its recipe can be used where the cache is not.

    Args:
        data: the recipe's, parsed.
        run: its folder.
    """
    options, own = data.get("init_args", {}), run / "tokenizer"
    taken = Path(options.get("tokenizer") or "")
    if taken.parent != _cache():
        return
    with whole_folder(own, "set trainer.default_root_dir to another folder") as part:
        shutil.copytree(taken, part, dirs_exist_ok=True)
    names = [path.name for path in taken.iterdir()]
    if filecmp.cmpfiles(taken, own, names, shallow=False)[0] == names:  # else what the run went on from has another
        options["tokenizer"] = str(own)


def _take_tokenizer(data: Any, start: Start) -> None:
    """Has the data use the tokenizer of a start, if it takes one and its recipe names none.

    Args:
        data: the recipe's, parsed.
        start: where the network starts.

    Raises:
        UserError: the tokenizer that the recipe names has other ids for the same tokens.
    """
    options = data.get("init_args", {})
    if "tokenizer" not in options:
        return
    if options["tokenizer"] is None:
        options["tokenizer"] = str(_kept(start.tokenizer()))
    else:
        _check_same_tokens(options["tokenizer"], start.tokenizer())


def _warn_of_frozen_rows(transforms: Sequence[Any]) -> None:
    """Tells where an adapter leaves the rows of new tokens as they begin, the one that ends a turn among them."""
    for part in transforms:
        name = part.class_path.rpartition(".")[2]
        if issubclass(classes(Transform).get(name, Transform), Adapter) and not part.init_args.get("also"):
            rank_zero_warn(
                f"{name} leaves the new tokens' rows of the embedding as they begin, so that the network hardly learns "
                'to end a turn: have them learn by its option also: ["embedding.*"] (and "head.*", where the head is '
                "not tied), or choose the template Plain, which needs no new token"
            )


def _make_room(model: Any, data: Any) -> None:
    """Gives the network rows for the tokens that a chat template of the recipe writes, and its start does not know.

    Args:
        model: the recipe's, parsed.
        data: the recipe's, parsed.
    """
    options, network = data.get("init_args", {}), model.init_args.network.get("init_args", {})
    if not options.get("template") or not options.get("tokenizer") or "vocab_size" not in network:
        return
    template = build(ChatTemplate, options["template"].as_dict())
    tokenizer, end = tokenizing.load_with_end(options["tokenizer"])
    needed = tokenizing.vocab_size_used(ChatEncoder(template, tokenizer, end).tokenizer)
    if needed > network["vocab_size"]:
        rows = -(-needed // ROWS) * ROWS
        rank_zero_info(
            f"{template.name} writes tokens that the network does not know: its vocab_size of {network['vocab_size']} "
            f"becomes {rows}"
        )
        _warn_of_frozen_rows(model.init_args.get("transforms") or [])
        network["vocab_size"] = rows


def _kept(files: TokenizerFiles) -> Path:
    """A folder of a tokenizer in the cache, named by what it holds."""
    name = blake2b(json.dumps(asdict(files), sort_keys=True).encode(), digest_size=16).hexdigest()
    folder = _cache() / name
    if not folder.is_dir():
        with whole_folder(folder) as part:
            write(part, files)
    return folder


def _cache() -> Path:
    return cache_root() / "tokenizers"


def _check_same_tokens(path: str, files: TokenizerFiles) -> None:
    if found := tokenizing.first_unlike(tokenizing.load(path), Tokenizer.from_str(files.tokenizer)):
        token, given, known = found
        raise UserError(
            f"data.tokenizer is {path}, where the token {token!r} is {given}, but the network that model.init_from "
            f"names knows it as {known}: leave out data.tokenizer to take the network's own"
        )
