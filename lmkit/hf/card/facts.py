"""What a model card tells, collected from what `lmkit fit` leaves behind; what is not there is left out."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from lmkit.checkpoints import KEY
from lmkit.hf.card.paths import shortened
from lmkit.hf.proof.receipt import Receipt


@dataclass(frozen=True)
class CardFacts:
    """What a model card tells; all but the name may be left out.

    Args:
        name: of the model.
        parameters: how many there are; of an adapter, with those of its model.
        family: the `model_type` of transformers; none for code of the folder's own.
        shape: of the network, such as `depth`, and its parts.
        chat: whether the tokenizer has a chat template.
        context: tokens that it reads; none if that is not known.
        license: such as `apache-2.0`; none if it is not known.
        data: what it was trained on.
        tokenizer: what is known of it.
        training: figures of the run.
        evaluation: measures on the validation documents.
        recipe: of the run, without paths of the machine.
        receipt: of the export.
        versions: of packages the run was made with, beside those of the receipt.
        packages: that the folder's own code needs beside torch and transformers.
        base: where the model is that it is an adapter for, within its folder; none for a model by itself.
    """

    name: str
    parameters: int | None = None
    family: str | None = None
    shape: Mapping[str, str] = field(default_factory=dict)
    chat: bool = False
    context: int | None = None
    license: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    tokenizer: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, str] = field(default_factory=dict)
    evaluation: Mapping[str, str] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    receipt: Receipt | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    base: str | None = None


def facts_of(checkpoint: Mapping[str, Any], run_folder: Path | None = None) -> CardFacts:
    """What a checkpoint and the folder of its run tell.

    Args:
        checkpoint: as `lmkit.checkpoints.read` gives it.
        run_folder: where its `metrics.csv` is; none where there is no run.
    """
    kept = checkpoint.get(KEY) or {}
    recipe = shortened(kept.get("recipe") or {})
    state: Mapping[str, Any] = next((value for value in checkpoint.values() if _is_of_text(value)), {})
    step = checkpoint.get("global_step") or 0
    logged = _logged(run_folder, step) if step else {}
    lightning = checkpoint.get("pytorch-lightning_version")
    data = _at(recipe, "data")
    names = ("source", "filters", "validation_source", "validation_fraction", "documents")
    return CardFacts(
        name=str(recipe.get("name") or "model"),
        shape=_known(_at(recipe, "model", "network")),
        data=_known({name: data.get(name) for name in names} | {"fingerprint": state.get("fingerprint")}),
        tokenizer=_tokenizer(kept.get("tokenizer")),
        training=_training(recipe, state, step, logged.get("train/loss")) if step else {},
        evaluation=_evaluation(checkpoint, recipe, logged) if step else {},
        recipe=recipe or None,
        versions={"lightning (of the run)": str(lightning)} if lightning else {},
    )


def _is_of_text(state: Any) -> bool:
    """Whether it is where a run's data stands, as `Text` keeps it."""
    return isinstance(state, Mapping) and {"fingerprint", "samples", "context", "batch_size"} <= state.keys()


def _at(recipe: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """The options of a part of a recipe; none where there is no such part."""
    part: Any = recipe
    for name in path:
        part = part.get(name)
        part = part.get("init_args", {} if "class_path" in part else part) if isinstance(part, Mapping) else {}
    return part or {}


def _known(rows: Mapping[str, Any]) -> dict[str, str]:
    return {name: said(value) for name, value in rows.items() if value is not None and value not in ([], {})}


def said(value: Any) -> str:
    """A value of a recipe in one line: a part by the name of its class and its options."""
    if isinstance(value, Mapping) and "class_path" in value:
        given = {key: each for key, each in (value.get("init_args") or {}).items() if each is not False}
        options = ", ".join(f"{key}={text}" for key, text in _known(given).items())
        return value["class_path"].rpartition(".")[2] + (f"({options})" if options else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text}" for key, text in _known(value).items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(said, value))}]"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _tokenizer(text: str | None) -> dict[str, str]:
    if text is None:
        return {}
    tokenizer = Tokenizer.from_str(text)
    kind = type(tokenizer.model).__name__
    fingerprint = blake2b(text.encode(), digest_size=16).hexdigest()
    return _known({"model": kind, "tokens": tokenizer.get_vocab_size(), "fingerprint": fingerprint})


def _training(recipe: Mapping[str, Any], state: Mapping[str, Any], step: int, loss: float | None) -> dict[str, str]:
    """Figures of the run up to an optimizer step."""
    model, trainer, context = _at(recipe, "model"), _at(recipe, "trainer"), state.get("context")
    rows = {
        "task": said({"class_path": str((recipe.get("model") or {}).get("class_path", ""))}) or None,
        "optimizer steps": step,
        "tokens": state["samples"] * context if context else None,
        "batch": f"{said(state['batch_size'])} rows of {said(context)} tokens a step" if context else None,
        "learning rate": _at(model, "optimizer").get("lr"),
        "optimizer": model.get("optimizer"),
        "schedule": model.get("schedule"),
        "gradients clipped to": trainer.get("gradient_clip_val"),
        "precision": trainer.get("precision"),
        "seed": recipe.get("seed_everything"),
        "last training loss": None if loss is None else f"{loss:.4f} nats a token",
    }
    return _known(rows)


def _logged(run_folder: Path | None, step: int) -> dict[str, float]:
    """The last value of each metric up to an optimizer step."""
    if run_folder is None or not (path := run_folder / "metrics.csv").is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("step") and int(row["step"]) < step]
    return {name: float(value) for row in rows for name, value in row.items() if name and value}


def _evaluation(
    checkpoint: Mapping[str, Any], recipe: Mapping[str, Any], logged: Mapping[str, float]
) -> dict[str, str]:
    """The measures of the last validation, from the run's folder, or from what chose the best checkpoint."""
    states = [state for state in (checkpoint.get("callbacks") or {}).values() if isinstance(state, Mapping)]
    scores = [state.get("current_score") for state in states if state.get("monitor") == "val/loss"]
    loss = logged.get("val/loss", next((float(score) for score in scores if score is not None), None))
    if loss is None:
        return {}
    source, part = _at(recipe, "data").get("validation_source"), _at(recipe, "trainer").get("limit_val_batches")
    rows = {
        "loss (val/loss)": f"{loss:.4f} nats a token",
        "perplexity": f"{math.exp(loss):.2f}",
        "bits per byte": f"{bits:.4f}" if (bits := logged.get("val/bits_per_byte")) else None,
        "measured on": source or "documents held out of the source",
        "but not on all of it": None if part in (None, 1.0) else f"limit_val_batches is {said(part)}",
    }
    return _known(rows)
