"""Reads an exported folder as a stranger would: by transformers, in a process of its own, in which lmkit is refused.

Run by path (`python -E -P reader.py FOLDER`), so that it may import nothing of lmkit. FOLDER holds `asked.json`; what
was found is written beside it as `found.json` and one safetensors file of logits for each batch of tokens.
"""

import importlib.abc
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

REFUSED = ("lmkit", "lmkit_plugins")
"""Packages that an exported folder must not need."""


class Refusing(importlib.abc.MetaPathFinder):
    """Fails every import of `REFUSED`."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Knows no module; raises for those that are refused."""
        if fullname.partition(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"the folder must work without {fullname}, but imports it", name=fullname)


def answer(asked: dict[str, Any], work: Path) -> dict[str, Any]:
    """Reads the model and the tokenizer and answers what is asked.

    Args:
        asked: `folder`; `adapter`, a folder of one, or nothing; `own_code`, whether code in the former may be run;
            `batches` of token rows; a `prompt` of tokens and the number of tokens to continue it by, `steps`; `strings`
            to tokenize.
        work: where the logits of each batch and of the continuation are written (B, T, V).
    """
    import torch  # noqa: PLC0415 (after lmkit is refused)
    from safetensors.torch import save_file  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        asked["folder"],
        dtype=torch.float32,
        trust_remote_code=asked["own_code"],
        local_files_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are listed then
    )
    model, loading = loaded
    if asked["adapter"]:
        from peft import PeftModel  # noqa: PLC0415

        model = PeftModel.from_pretrained(model, asked["adapter"])
    with torch.inference_mode():
        for number, rows in enumerate(asked["batches"]):
            save_file({"logits": model(torch.tensor(rows)).logits.contiguous()}, work / f"logits-{number}.safetensors")
        continuation, logits = continued(model, asked["prompt"], asked["steps"])
        save_file({"logits": logits}, work / "logits-continuation.safetensors")
    return {
        "model": type(model).__name__,
        "loading": {kind: sorted(map(str, keys)) for kind, keys in loading.items()},
        "continuation": continuation,
        **tokenized(asked),
    }


def continued(model: Any, prompt: list[int], steps: int) -> tuple[list[int], Any]:
    """The greedy continuation of a prompt by `generate` and its cache, and the logits of each step (1, T, V).

    The folder's settings for generation have no say in it: they do not belong to the network.
    """
    import torch  # noqa: PLC0415
    from transformers import GenerationConfig  # noqa: PLC0415

    model.generation_config = GenerationConfig(do_sample=False, use_cache=True, max_new_tokens=steps, pad_token_id=0)
    tokens = torch.tensor([prompt])
    made = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), output_logits=True, return_dict_in_generate=True
    )
    return made.sequences[0, len(prompt) :].tolist(), torch.stack(made.logits, dim=1)


def tokenized(asked: dict[str, Any]) -> dict[str, list[Any]]:
    """The token ids of each string, by itself and as a prompt, and the text that the former are turned back into."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(
        asked["folder"], trust_remote_code=asked["own_code"], local_files_only=True
    )
    ids = tokenizer(asked["strings"], add_special_tokens=False)["input_ids"]
    texts = [tokenizer.decode(each, skip_special_tokens=False, clean_up_tokenization_spaces=False) for each in ids]
    prompts = tokenizer(asked["strings"])["input_ids"]
    return {"ids": ids, "prompts": prompts, "texts": texts, "template": unread_template(tokenizer)}


def unread_template(tokenizer: Any) -> str | None:
    """Why the chat template is none that can be read; nothing if it can, whatever it then says of a conversation."""
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415

    try:
        if tokenizer.chat_template:
            tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    except TemplateSyntaxError as error:
        return str(error)
    except Exception:  # by which templates ask for other roles, or for tools
        return None
    return None


def main(work: Path) -> None:
    """Answers what is asked in a folder; an error is one line."""
    sys.meta_path.insert(0, Refusing())
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    os.environ |= {"HF_HOME": str(work / "home"), "HF_MODULES_CACHE": str(work / "modules")}
    try:
        found = answer(json.loads((work / "asked.json").read_text(encoding="utf-8")), work)
        (work / "found.json").write_text(json.dumps(found), encoding="utf-8")
    except Exception as error:  # whatever comes of reading any folder
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    said = " ".join(str(error).split())
    sys.exit(f"{type(error).__name__}: {said if len(said) <= 400 else said[:399] + '…'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
