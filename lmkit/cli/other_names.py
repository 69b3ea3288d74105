"""Options as transformers, TRL, litgpt and vLLM call them, and where they are here, for those who come from there."""

_COUNT, _STEPS, _BATCH, _RATE = ("--count", "--trainer.max_steps", "--data.batch_size", "--model.optimizer.lr")

_NAMES = {
    "max_new_tokens": _COUNT,
    "max_tokens": _COUNT,
    "num_samples": "--samples",
    "batch_size": _BATCH,
    "global_batch_size": _BATCH,
    "per_device_train_batch_size": _BATCH,
    "lr": _RATE,
    "learning_rate": _RATE,
    "max_steps": _STEPS,
    "max_iters": _STEPS,
    "max_epochs": _STEPS,
    "epochs": _STEPS,
    "num_train_epochs": _STEPS,
    "gradient_accumulation_steps": "--trainer.accumulate_grad_batches",
    "devices": "--trainer.devices",
    "strategy": "--trainer.strategy",
    "precision": "--trainer.precision",
    "resume": "--ckpt_path",
    "resume_from_checkpoint": "--ckpt_path",
    "seed": "--seed_everything",
    "strict": "--data.strict",
}


def here(option: str, options: set[str]) -> str | None:
    """What an option of another tool is here.

    Args:
        option: as it came, with its dashes.
        options: of the command, of which that of a part, such as `--model`, stands for what is in the part.
    """
    found = _NAMES.get(option.lstrip("-").replace("-", "_").rsplit(".", 1)[-1])
    if found is None:
        return None
    return found if {found, found.split(".")[0]} & options else None
