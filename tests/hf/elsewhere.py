"""Run by test_own_code.py in a process of its own, as on a machine without lmkit: loads exported folders, writes what
it found as JSON. Each folder holds `reference.pt`, what lmkit says of the same network.
"""

import json
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import torch


class NoLmkit:
    """Makes `import lmkit`, and any plugin's, fail."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"lmkit", "lmkit_plugins", "lmkit_ada_norm", "lightning", "jsonargparse"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def load(folder, **options):
    from transformers import AutoModelForCausalLM

    model, told = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True, **options
    )
    assert not any(told.values()), told
    return model


def difference(a, b):
    return (a - b).abs().max().item()


def padded(rows, left):
    """Rows of several lengths as one batch, and its mask."""
    width = max(map(len, rows))
    fill = [torch.zeros(width - len(row), dtype=torch.long) for row in rows]
    ones = [torch.ones_like(row) for row in rows]
    join = (lambda a, b: torch.cat([a, b])) if left else (lambda a, b: torch.cat([b, a]))
    return torch.stack([*map(join, fill, rows)]), torch.stack([*map(join, fill, ones)])


def logits_of_padded(model, rows, alone, left, use_cache):
    tokens, mask = padded(rows, left)
    output = model(tokens, attention_mask=mask, use_cache=use_cache)
    found = [output.logits[i, mask[i].bool()] for i in range(len(rows))]
    assert (output.past_key_values is not None) == (use_cache and left)
    return max(map(difference, found, alone))


def packed(model, rows, alone):
    """Rows one after another in one, told apart by positions."""
    positions = torch.cat([torch.arange(len(row)) for row in rows])[None]
    found = model(torch.cat(rows)[None], position_ids=positions).logits[0]
    return difference(found, torch.cat(alone))


def in_pieces(model, tokens):
    """Read a few tokens at a time, with the past handed over."""
    past, found = None, []
    for piece in tokens.split([5, 1, 2, tokens.size(1) - 8], dim=1):
        output = model(piece, past_key_values=past, use_cache=True)
        past = output.past_key_values
        found.append(output.logits)
    return torch.cat(found, dim=1)


def training(model, tokens):
    """The loss, the weights that no gradient reaches, and by how much gradients differ if blocks are recomputed."""
    model.train()
    model(tokens, labels=tokens).loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    missing = [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()]
    model.zero_grad()
    model.gradient_checkpointing_enable()
    assert model.is_gradient_checkpointing
    output = model(tokens, labels=tokens, num_items_in_batch=tokens[:, 1:].numel())
    output.loss.backward()
    apart = max(difference(p.grad, gradients[name]) for name, p in model.named_parameters())
    model.gradient_checkpointing_disable()
    assert not any("forward" in vars(module) for module in model.modules())
    model.eval()
    return output.loss.item(), missing, apart, output.past_key_values is None


def gone_on(model, tokens, continued):
    """Whether a continuation can be interrupted and gone on with."""
    options = {"do_sample": False, "pad_token_id": 0, "max_new_tokens": 5, "return_dict_in_generate": True}
    first = model.generate(tokens, **options)
    past = deepcopy(first.past_key_values)
    assert past.network is model.network
    thens = [model.generate(first.sequences, past_key_values=each, **options) for each in (first.past_key_values, past)]
    return all(then.sequences[:, tokens.size(1) :].equal(continued[:, :10]) for then in thens)


def told(action, *args, **options):
    try:
        action(*args, **options)
    except (ValueError, NotImplementedError) as error:
        return str(error)
    return ""


def refusals(model, tokens):
    hole = torch.ones_like(tokens)
    hole[:, 2] = 0
    right = torch.ones_like(tokens)
    right[:, -1] = 0
    long = tokens.repeat(1, 40)
    past = model(tokens, use_cache=True).past_key_values
    model.config.output_hidden_states = True
    hidden = told(model, tokens)
    model.config.output_hidden_states = False
    return {
        "long": told(model, long, use_cache=False),
        "long_with_cache": told(model, long),
        "generates_too_much": told(model.generate, tokens, max_new_tokens=1000, pad_token_id=0),
        "embeds": told(model, inputs_embeds=torch.zeros(1, 2, 3)),
        "hole": told(model, tokens, attention_mask=hole),
        "hidden": hidden,
        "other_mask": told(
            model, tokens[:, :1], past_key_values=past, attention_mask=torch.cat([hole, hole[:, :1]], dim=1)
        ),
        "labels": told(model, tokens, labels=tokens, logits_to_keep=1),
        "right": told(model.generate, tokens, attention_mask=right, max_new_tokens=3, pad_token_id=0),
        "resize": told(model.resize_token_embeddings, 99),
        "positions": told(model, tokens, position_ids=torch.arange(3, 3 + tokens.size(1))[None]),
        "assistant": told(model.generate, tokens, prompt_lookup_num_tokens=2, max_new_tokens=3, pad_token_id=0),
    }


def fresh(model):
    """The largest weight of a model made anew from a configuration."""
    from transformers import AutoModelForCausalLM

    made = AutoModelForCausalLM.from_config(model.config, trust_remote_code=True)
    return max(p.abs().max().item() for name, p in made.named_parameters() if "norm" not in name)


def reloaded(model, tokens, expected):
    with tempfile.TemporaryDirectory() as again:
        model.save_pretrained(again)
        files = sorted(path.name for path in Path(again).glob("*.py"))
        return difference(load(again)(tokens).logits, expected), files


def greedy(model, tokens, count, **options):
    return model.generate(tokens, max_new_tokens=count, do_sample=False, pad_token_id=0, **options)[:, tokens.size(1) :]


@torch.no_grad()
def examine(folder, thorough):
    reference = torch.load(folder / "reference.pt")
    tokens, logits, rows = reference["tokens"], reference["logits"], reference["rows"]
    alone, count = reference["alone"], reference["continued"].size(1)
    model = load(folder)
    saved = model.state_dict()
    unsaved = {name: buffer.sum().item() for name, buffer in model.named_buffers() if name not in saved}
    batch, mask = padded(rows, left=True)
    found = {
        "unsaved": unsaved,
        "logits": difference(model(tokens).logits, logits),
        "no_cache": difference(model(tokens, use_cache=False).logits, logits),
        "last": difference(model(tokens, logits_to_keep=1).logits, logits[:, -1:]),
        "pieces": difference(in_pieces(model, tokens), logits),
        "left": logits_of_padded(model, rows, alone, True, False),
        "left_cached": logits_of_padded(model, rows, alone, True, True),
        "right": logits_of_padded(model, rows, alone, False, True),
        "packed": packed(model, rows, alone),
        "greedy": greedy(model, tokens, count).equal(reference["continued"]),
        "greedy_uncached": greedy(model, tokens, count, use_cache=False).equal(reference["continued"]),
        "greedy_padded": greedy(model, batch, count, attention_mask=mask).equal(reference["rows_continued"]),
    }
    beams = {"num_beams": 3, "num_return_sequences": 2}
    found["beams"] = greedy(model, batch, 6, attention_mask=mask, **beams).tolist()
    found["beams_uncached"] = greedy(model, batch, 6, attention_mask=mask, use_cache=False, **beams).tolist()
    with torch.enable_grad():
        found["training"] = training(model, tokens)
    if thorough:
        found["gone_on"] = gone_on(model, tokens, reference["continued"])
        found["hub"] = difference(load("some/one")(tokens).logits, logits)
        found["fresh"] = fresh(model)
        torch.manual_seed(0)
        drawn = model.generate(batch, attention_mask=mask, max_new_tokens=5, do_sample=True, top_k=5, pad_token_id=0)
        found["drawn"] = list(drawn.shape)
        found["refusals"] = refusals(model, tokens)
    found["reloaded"], found["files"] = reloaded(model, tokens, logits)
    half = load(folder, dtype=torch.bfloat16)
    found["half"] = difference(half(tokens).logits.float(), reference["half"])
    found["dtypes"] = {name: str(tensor.dtype) for name, tensor in half.state_dict().items()}
    found["tied"] = model.get_output_embeddings() is None
    found["embedding"] = list(model.get_input_embeddings().weight.shape)
    return found


def main(folders):
    sys.meta_path.insert(0, NoLmkit())
    torch.set_num_threads(1)
    found = {folder.name: examine(folder, thorough=number == 0) for number, folder in enumerate(folders)}
    assert not any(name.partition(".")[0].startswith("lmkit") for name in sys.modules)
    print(json.dumps(found))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
