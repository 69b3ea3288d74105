"""What must fit together before a run starts: parts, data and trainer, each told in one line where it does not."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor

from lmkit.errors import RunError, UserError
from lmkit.network import Network
from lmkit.network.transformer import Transformer

MOST_BUILT = 200_000_000
"""Parameters of the largest network that is built in earnest to find out why it does not run."""


def rehearse(
    network: Callable[[], Network], schedule: Callable[[int], Any], steps: int, run: Callable[[Network], Any]
) -> None:
    """Builds the schedule, and the network on the meta device, which takes no memory and no data; runs it there.

    Args:
        network: recipe of the network.
        schedule: recipe of the schedule.
        steps: optimizer steps of the run.
        run: a forward of the network.

    Raises:
        UserError: the run has no length, a part cannot be built, or parts do not fit each other.
    """
    if steps < 1:
        raise UserError("a run's length is counted in optimizer steps: set trainer.max_steps, for example to 1000")
    schedule(steps)

    def try_out(built: Network) -> None:
        run(built)
        check_heard(built)

    with _told("the network cannot be built"), torch.device("meta"):
        built = network()
    try:
        with torch.device("meta"):
            try_out(built)
    except UserError:
        raise
    except Exception:  # a defect, or a part that cannot run without its numbers
        if sum(parameter.numel() for parameter in built.parameters()) <= MOST_BUILT:
            with _told("the network cannot be run"), torch.random.fork_rng(), torch.no_grad():
                try_out(network())


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns an exception of a part, which may be a plugin's, into a `UserError` that says where it came from."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{what}: {type(error).__name__}: {error} ({where.filename}:{where.lineno}); mend the part or its options, "
            "and try a part of your own by `lmkit plugins check`"
        ) from error


def check_heard(network: Network) -> None:
    """Looks whether what each position tells its layers is heard by one of them.

    Raises:
        UserError: it is not, so that the position changes nothing.
    """
    for part in network.modules():
        if not isinstance(part, Transformer):
            continue
        blocks: Any = part.blocks
        for number, position in enumerate((part.position, *part.layer_positions)):
            _, told = position(torch.zeros(1, 1, part.dim), torch.zeros(1, 1, dtype=torch.long))
            layers = [block.attention for block, own in zip(blocks, part.position_of, strict=True) if own == number]
            if (told.rotation is None and told.bias is None) or any(layer.hears_position for layer in layers):
                continue
            deaf = ", ".join(sorted({type(layer).__name__ for layer in layers}))
            why = f"{deaf} orders tokens by itself" if deaf else "all layers of the pattern have positions of their own"
            raise UserError(
                f"no layer hears the position {type(position).__name__}: {why}; set it to NoPosition, or have a layer "
                "that hears it"
            )


def check_data(network: Network, data: Any, ids_needed: int) -> None:
    """Compares the numbers that a network shares with its data.

    Args:
        network: the network.
        data: the data module.
        ids_needed: token ids that the task needs: the tokenizer's, and those of its own.

    Raises:
        UserError: the network knows too few tokens or positions.
    """
    if ids_needed > network.vocab_size:
        own = ids_needed - data.vocab_size_used
        needs = f" and the task needs {own} more" if own else ""
        raise UserError(
            f"the tokenizer has {data.vocab_size_used} token ids{needs}, but the network has vocab_size "
            f"{network.vocab_size}: set model.network.vocab_size to at least {ids_needed}"
        )
    check_rows(network, data)


def check_rows(network: Network, data: Any) -> None:
    """Compares the tokens of a row with those that a network reads.

    Raises:
        UserError: the rows are longer.
    """
    if getattr(data, "context", 0) > network.context:
        raise UserError(
            f"rows of data are {data.context} tokens long, but the network has context {network.context}: "
            f"set model.network.context to at least {data.context}, or data.context lower"
        )


def check_trainer(trainer: Any) -> None:
    """Looks for what `Task` does not do, and for counts of micro-batches that end in the midst of an optimizer step.

    Raises:
        UserError: the trainer has one.
    """
    if isinstance(trainer.strategy, FSDPStrategy | DeepSpeedStrategy | ModelParallelStrategy):
        _refuse_shards(type(trainer.strategy).__name__)
    accumulated = trainer.accumulate_grad_batches
    if isinstance(trainer.val_check_interval, int) and trainer.val_check_interval % accumulated:
        raise UserError(
            f"trainer.val_check_interval counts micro-batches and is {trainer.val_check_interval}, in the midst of an "
            f"optimizer step of {accumulated}: choose a multiple of trainer.accumulate_grad_batches"
        )
    limit = trainer.limit_train_batches
    if isinstance(limit, int) and limit % accumulated and not trainer.fast_dev_run:
        raise UserError(
            f"trainer.limit_train_batches counts micro-batches and is {limit}, which would end in the midst of an "
            f"optimizer step of {accumulated}: leave it out, since trainer.max_steps is the run's length"
        )


def check_strategy(name: str) -> None:
    """Looks for a strategy that has shards of the network on each rank, before it looks for its devices.

    Args:
        name: Lightning's, or that of its class, with or without its module.

    Raises:
        UserError: it is one.
    """
    name = name.rpartition(".")[2]
    if name.lower().startswith(("fsdp", "deepspeed", "modelparallel")):
        _refuse_shards(name)


def _refuse_shards(strategy: str) -> NoReturn:
    raise UserError(
        f"trainer.strategy is {strategy}, but lmkit does not yet train on shards of a network, whose gradients would "
        "be clipped shard by shard: set trainer.strategy to ddp or auto"
    )


def check_scaling(optimizer: Any, precision: str) -> None:
    """Looks for an optimizer that would undo the scale of float16 gradients by itself.

    Raises:
        UserError: it is one.
    """
    if precision.startswith("16-mixed") and getattr(optimizer, "_step_supports_amp_scaling", False):
        raise UserError(
            "a fused optimizer unscales float16 gradients by itself, after they would be clipped and averaged: "
            "set model.optimizer.fused to false, or trainer.precision to bf16-mixed"
        )


def check_finite(what: str, value: Tensor, step: int) -> None:
    """Ends a run that has left the numbers.

    Args:
        what: is measured, with its verb.
        value: a scalar.
        step: optimizer steps taken.

    Raises:
        RunError: it is infinite or not a number.
    """
    if not torch.isfinite(value):
        raise RunError(
            f"the {what} no longer finite at optimizer step {step}: lower the learning rate or clip by "
            "trainer.gradient_clip_val, and go on from an earlier checkpoint by --ckpt_path"
        )


def check_chunk(chunk: int) -> None:
    """Looks at how many tokens' logits may exist at once.

    Raises:
        UserError: it is not 1 or more.
    """
    if chunk < 1:
        raise UserError(f"chunk is {chunk}: give the number of tokens whose logits may exist at once, 1 or more")
