"""Tiny models of transformers for every family, and folders as it writes them and as others did before."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from tests.hf.variants import OWN, PEERS, ROW, SIZES, Json, V


@dataclass
class Peer:
    """A tiny model of transformers and its folder.

    Attributes:
        folder: as transformers wrote it.
        model: that it wrote.
    """

    folder: Path
    model: PreTrainedModel

    @property
    def config(self) -> Json:
        """What config.json says."""
        return json.loads((self.folder / "config.json").read_text())

    @cached_property
    def logits(self) -> Tensor:
        """What the model makes of `rows()`."""
        return logits_of(self.model, rows())

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What all files hold."""
        return {name: tensor for file in self.folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


def configured(family: str, options: Json) -> PreTrainedConfig:
    """A tiny config of a family."""
    keys = {**SIZES, **OWN.get(family, {}), **options}
    optional = ("sliding_window", "q_lora_rank", "attn_logit_softcapping", "final_logit_softcapping")
    kept = {key: value for key, value in keys.items() if value is not None or key in optional}
    return transformers.AutoConfig.for_model(family, **deepcopy(kept))  # which it changes


@torch.no_grad()
def randomised(model: PreTrainedModel) -> PreTrainedModel:
    """All weights random, none so small that it could be left out unseen."""
    torch.manual_seed(0)
    for name, tensor in model.named_parameters():
        if tensor.dim() == 1:
            tensor.add_(torch.randn_like(tensor), alpha=0.3)
        else:
            tensor.normal_(std=0.5 if "router" in name or "gate.weight" in name else 0.12)
    for name, tensor in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            tensor.uniform_(0.0, 0.2)  # never below 0, as transformers then prefers experts of groups that are out
    return model.eval()


def made(name: str, folder: Path, dtype: torch.dtype = torch.float32, shard: str = "5GB") -> Peer:
    """One of `PEERS`, written to a folder by transformers."""
    model = randomised(AutoModelForCausalLM.from_config(configured(*PEERS[name]), attn_implementation="eager"))
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    return Peer(folder, model)


def loaded(folder: Path) -> PreTrainedModel:
    """A folder as transformers reads it, in float32; nothing may be missing or left over."""
    model, said = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    assert not any(said.values()), said
    return model.eval()


def rewritten(
    peer: Peer,
    folder: Path,
    config: Callable[[Json], Json] = lambda config: config,
    tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda tensors: tensors,
) -> Path:
    """The folder of a peer in another form."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config(peer.config)))
    save_file({name: t.contiguous() for name, t in tensors(peer.tensors).items()}, folder / "model.safetensors")
    return folder


def rows(seed: int = 1) -> Tensor:
    """Tokens (B, T) of three rows without padding."""
    return torch.randint(V, (3, ROW), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits_of(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Logits (B, T, V), read at once."""
    return model(tokens, use_cache=False).logits
