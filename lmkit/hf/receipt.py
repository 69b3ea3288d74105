"""The receipt of an export: proof that `transformers`, in a fresh process, reads the folder as the same network."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

import lmkit
from lmkit.errors import UserError
from lmkit.hf import reader
from lmkit.hf.questions import Questions, batches, questions
from lmkit.network import Decoder

TOLERANCE = 1e-4
"""The largest difference of a logit in float32 that is still the same number, computed in another order."""

_CHUNK = 2**24  # logits that are compared at once: 64 MiB


class Difference(NamedTuple):
    """How far apart the logits of a batch are, in float32.

    Attributes:
        rows: number of rows.
        length: tokens a row.
        largest: the largest absolute difference.
        mean: the mean absolute difference.
    """

    rows: int
    length: int
    largest: float
    mean: float


class Receipt(NamedTuple):
    """What was compared and found.

    Attributes:
        model: the class of transformers, or of the folder's own code, that the folder was read as.
        context: of the network, in tokens.
        logits: the differences on random tokens, on real ones, and on a long row, as far as there were any.
        continued: tokens of the greedy continuation.
        ties: those of them that are not the network's first choice, but as good within the tolerance.
        strings: how many were tokenized.
        alike: how many of them were tokenized alike.
        failures: each check that failed, in a sentence.
        versions: of the packages.
        tolerance: of a logit.
    """

    model: str
    context: int
    logits: dict[str, Difference]
    continued: int
    ties: int
    strings: int
    alike: int
    failures: tuple[str, ...]
    versions: dict[str, str]
    tolerance: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Each check and what it found, in words."""
        made = [("read as", f"{self.model}, by transformers {self.versions['transformers']} in a fresh process")]
        for name, found in self.logits.items():
            size = f"{found.rows} x {found.length:,} tokens"
            size += " (the whole context)" if found.length == self.context else ""
            made.append((f"logits, {name}", f"largest difference {found.largest:.1e}, mean {found.mean:.1e}, {size}"))
        if "real tokens" not in self.logits:
            made.append(("logits, real tokens", "not compared: there were no texts"))
        ties = f", {self.ties} at a tie" if self.ties else ""
        made.append(("greedy continuation", f"{self.continued} tokens{ties}"))
        made.append(("tokenization", f"{self.alike:,} of {self.strings:,} strings alike"))
        made.append(("tolerance", f"{self.tolerance:.0e} of a logit, in float32 on the CPU"))
        return [*made, ("verdict", "passed" if self.passed else "FAILED: " + "; ".join(self.failures))]

    def table(self) -> str:
        """Aligned lines for a terminal."""
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name:<{width}}  {found}" for name, found in self.rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as for JSON."""
        logits = {name: found._asdict() for name, found in self.logits.items()}
        return {**self._asdict(), "logits": logits, "failures": list(self.failures), "passed": self.passed}


def check(
    folder: Path, network: Decoder, tokenizer: Tokenizer, texts: Sequence[str], own_code: bool = False
) -> Receipt:
    """Has `transformers` read a folder in a fresh process, and compares what it finds with the network.

    Args:
        folder: what was exported.
        network: in float32, on the CPU and in evaluation mode, with the numbers that were exported.
        tokenizer: the network's.
        texts: real ones, such as of the validation documents; a few thousand characters are enough.
        own_code: whether the folder has code of its own, which is run then.

    Raises:
        UserError: `transformers` is missing, or could not read the folder.
    """
    versions = _versions()
    asked = questions(network, tokenizer, texts)
    with tempfile.TemporaryDirectory(prefix="lmkit-receipt-") as made:
        work = Path(made)
        found = ask(folder.resolve(), asked, own_code, work)
        return compare(network, tokenizer, asked, found, work, versions)


def _versions() -> dict[str, str]:
    try:
        needed = {name: version(name) for name in ("transformers", "safetensors")}
    except PackageNotFoundError as error:
        raise UserError(f"the receipt needs the package {error.name}: pip install 'lmkit[hf]'") from error
    return {"torch": torch.__version__, **needed, "lmkit": lmkit.__version__}


def ask(folder: Path, asked: Questions, own_code: bool, work: Path) -> dict[str, Any]:
    """Has the reader answer in a folder `work`, where it leaves the logits; gives what else it found."""
    request = {"folder": str(folder), "own_code": own_code, "batches": [rows.tolist() for _, rows in batches(asked)]}
    request |= {"prompt": asked.prompt, "count": asked.count, "strings": asked.strings}
    (work / "asked.json").write_text(json.dumps(request), encoding="utf-8")
    if reason := run_reader(work):
        raise UserError(f"transformers cannot read the exported folder {folder}: {reason}")
    found: dict[str, Any] = json.loads((work / "found.json").read_text(encoding="utf-8"))
    return found


def run_reader(work: Path) -> str:
    """Runs `reader.py` in a fresh process; why it failed, or nothing."""
    # As -I, which would also hide packages that are installed for one user alone: modules that the folder forgot are
    # found neither in the current folder nor by PYTHONPATH.
    command = [sys.executable, "-E", "-P", reader.__file__, str(work)]
    ended = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return (last or [f"it ended with exit code {ended.returncode}"])[0] if ended.returncode else ""


@torch.inference_mode()
def compare(
    network: Decoder, tokenizer: Tokenizer, asked: Questions, found: dict[str, Any], work: Path, versions: dict[str, str]
) -> Receipt:
    """Compares what the reader found, and the logits that it left in `work`, with the network and the tokenizer."""
    failures = [
        f"{kind.replace('_', ' ')}: {_few(keys)}" for kind, keys in found["loading"].items() if keys
    ]
    logits = {}
    for number, (name, tokens) in enumerate(batches(asked)):
        try:
            logits[name] = difference(network, tokens, work / f"logits-{number}.safetensors")
        except _OtherShapeError as error:
            failures.append(f"the logits of {name} {error}")
            continue
        if not logits[name].largest <= TOLERANCE:  # which NaN is not
            failures.append(f"logits of {name} differ by {logits[name].largest:.1e}, more than {TOLERANCE:.0e}")
    ties, wrong = follow(network, asked, found["continuation"])
    expected = [each.ids for each in tokenizer.encode_batch(asked.strings, add_special_tokens=False)]
    other = [text for text, ids, own in zip(asked.strings, found["ids"], expected, strict=True) if ids != own]
    if other:
        failures += [f"{len(other):,} of {len(expected):,} strings are tokenized otherwise, such as {other[0][:40]!a}"]
    alike = len(expected) - len(other)
    return Receipt(
        found["model"], network.context, logits, asked.count, ties, len(expected), alike, (*failures, *wrong), versions
    )


class _OtherShapeError(ValueError):
    """Says of which shapes the logits are."""


def difference(network: Decoder, tokens: Tensor, file: Path) -> Difference:
    """The network's logits of tokens (B, T) against those in a file (B, T, V), some positions at a time."""
    from safetensors import safe_open  # noqa: PLC0415 (an extra)

    hidden = network(tokens)
    largest, total = torch.tensor(0.0), torch.tensor(0.0, dtype=torch.float64)
    with safe_open(file, "pt") as opened:
        theirs = opened.get_slice("logits")
        if (shape := (*tokens.shape, network.vocab_size)) != tuple(theirs.get_shape()):
            raise _OtherShapeError(f"are of shape {tuple(theirs.get_shape())}, those of the network {shape}")
        step = max(1, _CHUNK // (tokens.size(0) * network.vocab_size))
        for start in range(0, tokens.size(1), step):
            apart = (network.logits(hidden[:, start : start + step]) - theirs[:, start : start + step]).abs()
            largest = torch.maximum(largest, apart.max())  # which keeps NaN
            total += apart.sum(dtype=torch.float64)
    mean = total.item() / (tokens.numel() * network.vocab_size)
    return Difference(*tokens.shape, largest.item(), mean)


def follow(network: Decoder, asked: Questions, made: list[int]) -> tuple[int, list[str]]:
    """Reads a continuation with the network, without a cache: the number of ties, and what is wrong with it.

    Each token has to be the network's first choice after those before it, so that they are its own too. Where several
    are first within the tolerance any will do, and those after it are compared all the same.
    """
    if len(made) != asked.count:
        return 0, [f"the greedy continuation has {len(made)} tokens in place of {asked.count}"]
    hidden = network(torch.tensor([asked.prompt + made]))[0, len(asked.prompt) - 1 : -1]
    logits, chosen = network.logits(hidden), torch.tensor(made)  # (C, V) and (C)
    behind = logits.max(dim=-1).values - logits.gather(1, chosen.unsqueeze(1)).squeeze(1)
    wrong = (behind > TOLERANCE).nonzero().flatten().tolist()
    ties = int(((logits.argmax(dim=-1) != chosen) & (behind <= TOLERANCE)).sum())
    said = "token {} of the greedy continuation is {}, but {} by the network"
    return ties, [said.format(step + 1, made[step], int(logits[step].argmax())) for step in wrong[:1]]


def _few(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
