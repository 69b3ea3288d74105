"""An exported network as transformers knows causal language models: it trains, evaluates and generates."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel, __version__
from transformers.modeling_outputs import CausalLMOutputWithPast

from lmkit.hf.own_code.building_lmkit import build
from lmkit.hf.own_code.configuration_lmkit import LmkitConfig
from lmkit.hf.own_code.padding_lmkit import check_context, documents_of, left_padding
from lmkit.hf.own_code.past_lmkit import LmkitPast, has_tokens
from lmkit.transforms.checkpointing import Recomputed

if int(__version__.partition(".")[0]) < 5:
    raise ImportError(f"this model needs transformers 5 or later, but {__version__} is installed: install a later one")

PAST = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"
"""What transformers calls the past: `cache` in its later versions."""

UNKNOWN = ("output_attentions", "output_hidden_states")


class LmkitForCausalLM(PreTrainedModel, GenerationMixin):
    """A decoder of lmkit with its head.

    Padding, to the left or to the right, changes no token's logits; those at padding itself mean nothing. Rows with
    padding to the left are generated from in groups of equal padding, so that rows of one length are fastest.
    """

    config_class = LmkitConfig
    supports_gradient_checkpointing = True
    _is_stateful = True  # a past that cannot be taken back, of this model's own class

    def __init__(self, config: LmkitConfig) -> None:
        super().__init__(config)
        self.gradient_checkpointing = False
        self.network = build(config.recipe or {})
        self._no_split_modules = [type(self.network).__name__]  # layers are told of positions by what stays on a device
        self.post_init()

    def forward(  # noqa: PLR0913, PLR0917 (what transformers may give)
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: LmkitPast | None = None,
        cache: LmkitPast | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Token ids (B, T) to logits (B, T, V).

        Args:
            input_ids: ids in [0, V).
            attention_mask: 1 for tokens, 0 for padding (B, T); with a past of all columns (B, S).
            position_ids: counting up from 0 in each text of a row, several of which may be packed; none for one text.
            past_key_values: what came before these tokens, as an earlier call gave it; it is extended.
            cache: the same, as later versions of transformers call it.
            inputs_embeds: not supported.
            labels: ids to predict, each at its own token's place, -100 for none; gives the loss.
            use_cache: whether the past is given back; none for the configuration's answer, and for no in training.
                A past is of one text a row without padding to its right; of other rows there is none.
            logits_to_keep: for how many of the last tokens there are logits, or for which; 0 for all.
            return_dict: whether an object is given rather than a tuple.
            kwargs: `num_items_in_batch`, the number of labels that the loss is a mean over.
        """
        defaults = {name: getattr(self.config, name, None) for name in UNKNOWN if kwargs.get(name) is None}
        tokens = _check_inputs(input_ids, inputs_embeds, {**kwargs, **defaults})
        if labels is not None and not (isinstance(logits_to_keep, int) and logits_to_keep == 0):
            raise ValueError("the loss needs the logits of all tokens: leave out logits_to_keep, or labels")
        if use_cache is None:
            use_cache = self.config.use_cache and labels is None and not self.training
        past: Any
        loss: Any
        before = past_key_values if cache is None else cache
        hidden, past = self._read(tokens, attention_mask, position_ids, before, use_cache)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.network.logits(hidden[:, kept])
        loss = None if labels is None else self._loss(logits, labels, kwargs.get("num_items_in_batch"))
        output = CausalLMOutputWithPast(loss=loss, logits=logits, **{PAST: past})
        as_object = self.config.return_dict if return_dict is None else return_dict
        return output if as_object else output.to_tuple()

    def get_input_embeddings(self) -> nn.Module:
        """The embedding of tokens."""
        return self.network.embedding

    def get_output_embeddings(self) -> nn.Module | None:
        """The head; none where the embedding's matrix is used."""
        return self.network.head

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Not supported."""
        raise NotImplementedError(
            f"the vocabulary of {self.config.vocab_size} ids is part of this model's recipe: train it with a larger "
            "vocab_size in lmkit"
        )

    def _set_gradient_checkpointing(self, enable: bool = True, *args: Any, **kwargs: Any) -> None:
        """Has blocks computed again in the backward pass, or no longer; in lmkit's way, whatever is said of others."""
        self.gradient_checkpointing = enable
        for block in self.network.blocks:
            block.__dict__.pop("forward", None)
            if enable:
                block.forward = Recomputed(block)

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """No: `generate` is not to make a cache of its own."""
        return False

    def _read(
        self, tokens: Tensor, mask: Tensor | None, positions: Tensor | None, past: Any, use_cache: bool
    ) -> tuple[Tensor, LmkitPast | None]:
        """Hidden states (B, T, D), and the past with these tokens if there can be one."""
        if has_tokens(past):
            past.check(tokens, mask, positions)
            return past.read(tokens), past
        documents = documents_of(tokens, mask, positions)
        padding = left_padding(documents, mask, tokens) if use_cache else None
        if padding is None:
            check_context(tokens, documents, self.network.context)
            return self.network(tokens, documents), None
        past = LmkitPast(self.network, padding)
        return past.read(tokens), past

    def _loss(self, logits: Tensor, labels: Tensor, count: Any) -> Tensor:
        """The mean over all labels, and what layers that regulate themselves add to it in training."""
        loss = self.loss_function(logits, labels, self.config.vocab_size, num_items_in_batch=count)
        if not self.training:
            return loss
        share = 1.0 if count is None else (labels[:, 1:] != -100).sum() / count
        sides = [side for part in self.modules() for side in getattr(part, "side_losses", {}).values()]
        return loss + share * sum(sides, start=torch.zeros_like(loss))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """First values of what no file held; transformers marks what it has loaded, which is left as it is."""
        if not callable(reset := getattr(module, "reset_parameters", None)):
            return
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        loaded = [(tensor, tensor.clone()) for tensor in own if getattr(tensor, "_is_hf_initialized", False)]
        reset()
        for tensor, value in loaded:
            tensor.copy_(value)


def _check_inputs(tokens: Tensor | None, embeddings: Tensor | None, options: dict[str, Any]) -> Tensor:
    """The token ids.

    Raises:
        ValueError: there are none, or something is asked that this model does not give.
    """
    if tokens is None or embeddings is not None:
        raise ValueError("this model reads input_ids, not inputs_embeds: its network embeds tokens by itself")
    for name in UNKNOWN:
        if options.get(name):
            raise ValueError(f"{name} is not supported by this model: leave it out")
    return tokens
