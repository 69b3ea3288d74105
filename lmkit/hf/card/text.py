"""The model card of an exported folder: README.md as the hub reads it, front matter and all."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import lmkit
from lmkit.hf.card.facts import CardFacts
from lmkit.hf.card.licenses import license_fields

_USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(folder{trust})
model = AutoModelForCausalLM.from_pretrained(folder{trust})
inputs = tokenizer("The", return_tensors="pt")
written = model.generate(**inputs, max_new_tokens=64, do_sample=True)
print(tokenizer.decode(written[0], skip_special_tokens=True))
```"""

_USE_ADAPTER = """\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder
tokenizer = AutoTokenizer.from_pretrained(f"{{folder}}/{base}"{trust})
model = AutoModelForCausalLM.from_pretrained(f"{{folder}}/{base}"{trust})
model = PeftModel.from_pretrained(model, folder)
inputs = tokenizer("The", return_tensors="pt")
written = model.generate(**inputs, max_new_tokens=64, do_sample=True)
print(tokenizer.decode(written[0], skip_special_tokens=True))
```"""

_CHAT = """\
It has a chat template:

```python
messages = [{{"role": "user", "content": "Hello"}}]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
written = model.generate(**inputs, max_new_tokens={count}, do_sample=True)
print(tokenizer.decode(written[0, inputs["input_ids"].size(1) :], skip_special_tokens=True))
```"""


def card(facts: CardFacts) -> str:
    """The text of README.md.

    Raises:
        UserError: the license has no name.
    """
    sections = [
        f"# {facts.name}",
        _introduction(facts),
        _table(facts.shape),
        "## How to use it",
        _use(facts),
        _CHAT.format(count=min(256, max(1, facts.context // 2)) if facts.context else 256) if facts.chat else "",
        *_headed("Data", facts.data),
        *_headed("Tokenizer", facts.tokenizer),
        *_headed("Training", facts.training),
        *_headed("Evaluation", facts.evaluation, "Of the last validation before this checkpoint."),
        *_receipt(facts),
        *_recipe(facts),
        *_headed("Versions", _versions(facts)),
    ]
    return _front_matter(facts) + "\n\n".join(section for section in sections if section) + "\n"


def is_card(path: Path) -> bool:
    """Whether a file is the card of an export."""
    return path.is_file() and "exported by lmkit" in path.read_text(encoding="utf-8", errors="replace")


def _front_matter(facts: CardFacts) -> str:
    fields: dict[str, Any] = dict(license_fields(facts.license))
    library = "peft" if facts.base else "transformers"
    fields |= {"library_name": library, "pipeline_tag": "text-generation"}
    fields["tags"] = ["lmkit", *(["conversational"] if facts.chat else []), *([] if facts.family else ["custom_code"])]
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n\n"


def _use(facts: CardFacts) -> str:
    trust = "" if facts.family else ", trust_remote_code=True"
    return _USE_ADAPTER.format(base=facts.base, trust=trust) if facts.base else _USE.format(trust=trust)


def _introduction(facts: CardFacts) -> str:
    size = f" of {facts.parameters:,} parameters" if facts.parameters else ""
    what = f"An adapter for the language model in `{facts.base}`, together" if facts.base else "A language model"
    lines = [f"{what}{size}, exported by lmkit."]
    place = f"`{facts.base}/`" if facts.base else "this folder"
    if facts.family:
        lines += [f"`transformers` has its architecture, `{facts.family}`: no code comes with it."]
    else:
        lines += [
            f"`transformers` does not have its architecture, so that the modelling code is in {place}. To load it is"
            f" to run that code: read it first. It needs {', '.join(('torch (2.11 or later)', *facts.packages))} and"
            " transformers, and not lmkit."
        ]
    if facts.license is None:
        lines += ["No license was named when it was exported."]
    return "\n".join(lines)


def _headed(heading: str, rows: Mapping[str, str], said: str = "") -> list[str]:
    """A section; none without rows."""
    return [f"## {heading}", said, _table(rows)] if rows else []


def _table(rows: Mapping[str, str]) -> str:
    lines = (f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items())
    return "\n".join(["| | |", "|---|---|", *lines]) if rows else ""


def _cell(text: str) -> str:
    """Text that stays within its cell, and is no markup."""
    return re.sub(r"([\\|<>*`])", r"\\\1", " ".join(str(text).split()))


def _receipt(facts: CardFacts) -> list[str]:
    if facts.receipt is None:
        return []
    said = (
        "After the export the folder was loaded again by `transformers`, in a process that could not import lmkit, and "
        "compared with the network that it came from."
    )
    return _headed("Receipt", dict(facts.receipt.rows), said)


def _recipe(facts: CardFacts) -> list[str]:
    if facts.recipe is None:
        return []
    text = yaml.safe_dump(dict(facts.recipe), sort_keys=False, allow_unicode=True, width=120)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    again = (
        "Save the recipe as `recipe.yaml` in a folder with the files that it names (of their paths only the last parts"
        " are shown), and run `lmkit fit --config recipe.yaml` there. The data is the same if its fingerprint is."
    )
    shown = f"<details><summary>The recipe</summary>\n\n{fence}yaml\n{text}{fence}\n\n</details>"
    return ["## How to make it again", again, shown] if facts.training else ["## Recipe", shown]


def _versions(facts: CardFacts) -> dict[str, str]:
    exported = facts.receipt.versions if facts.receipt else {"lmkit": lmkit.__version__}
    return {**facts.versions, **exported}
