"""Losses a chunk of tokens at a time: the logits of a chunk exist while it is computed, and those of no other.

Of one sum each chunk's gradient is taken while its logits exist, in the forward pass, and nothing is computed twice
(`chunked_sum`). Of a value for each token, whose weights are known later only, the backward pass computes each chunk's
logits a second time, unless the head is frozen or all is one chunk (`chunked_values`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Function = Callable[..., Tensor]
"""Hidden states (n, D) of some tokens, and the rows of those tokens in other tensors, to a number or to values (n)."""


def wide(x: Tensor) -> Tensor:
    """A tensor in float32, or as it is if that is wider."""
    return x.to(_wide(x))


def chunked_sum(
    function: Function, parameters: Sequence[Tensor], hidden: Tensor, beside: Sequence[Tensor], chunk: int
) -> Tensor:
    """The sum of what a function gives for each chunk of tokens.

    Args:
        function: hidden states (n, D) and the rows of `beside` to a number, a sum over these tokens.
        parameters: what `function` reads; those that require it receive gradients.
        hidden: (N, D).
        beside: tensors (N, ...) that get no gradients, such as targets.
        chunk: tokens at a time.
    """
    if torch.is_grad_enabled() and any(part.requires_grad for part in (hidden, *parameters)):
        return _Sum.apply(function, chunk, beside, hidden, *parameters)
    return torch.stack([function(*rows) for rows in _chunks(chunk, hidden, *beside)]).sum()


def chunked_values(
    function: Function, parameters: Sequence[Tensor], hidden: Tensor, beside: Sequence[Tensor], chunk: int
) -> Tensor:
    """What a function gives for each token (N): values (n), each by its own token alone; see `chunked_sum`."""
    if len(hidden) <= chunk:  # whose logits may exist, so that nothing has to be computed twice
        return function(hidden, *beside)
    if torch.is_grad_enabled() and hidden.requires_grad and not any(part.requires_grad for part in parameters):
        return _OwnValues.apply(function, chunk, beside, hidden)
    return _Values.apply(function, chunk, beside, hidden, *parameters)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Function, chunk: int, beside: Sequence[Tensor], hidden: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.learns = ctx.needs_input_grad[3:]
        total, grads = _gradients(function, chunk, beside, [hidden, *parameters], ctx.learns)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = outputs
        grads = [grad * scale.to(grad.dtype) for grad in ctx.saved_tensors]
        return None, None, None, *_placed(grads, ctx.learns)


class _Values(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Function, chunk: int, beside: Sequence[Tensor], hidden: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.save_for_backward(hidden, *parameters, *beside)
        ctx.function, ctx.chunk, ctx.autocast = function, chunk, _autocast(hidden.device.type)
        return torch.cat([function(*rows) for rows in _chunks(chunk, hidden, *beside)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        learns = ctx.needs_input_grad[3:]
        inputs, beside = ctx.saved_tensors[: len(learns)], ctx.saved_tensors[len(learns) :]

        def weighed(here: Tensor, weights: Tensor, *rows: Tensor) -> Tensor:
            return (ctx.function(here, *rows) * weights).sum()

        with ctx.autocast():
            _, grads = _gradients(weighed, ctx.chunk, [*outputs, *beside], inputs, learns)
        return None, None, None, *_placed(grads, learns)


class _OwnValues(torch.autograd.Function):
    """Where only hidden states learn: a value's gradient is of its own token, and can be weighed once it is there."""

    @staticmethod
    def forward(ctx: Any, function: Function, chunk: int, beside: Sequence[Tensor], hidden: Tensor) -> Tensor:
        hidden_grad, found = torch.empty_like(hidden), []
        for here, there, *rows in _chunks(chunk, hidden, hidden_grad, *beside):
            with torch.enable_grad():
                leaf = here.detach().requires_grad_()
                values = function(leaf, *rows)
                there.copy_(*torch.autograd.grad(values.sum(), leaf))
            found.append(values.detach())
        ctx.save_for_backward(hidden_grad)
        return torch.cat(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        (weights,), (hidden_grad,) = outputs, ctx.saved_tensors
        return None, None, None, (hidden_grad * weights.unsqueeze(-1)).to(hidden_grad.dtype)


def _gradients(
    function: Function, chunk: int, beside: Sequence[Tensor], inputs: Sequence[Tensor], learns: Sequence[bool]
) -> tuple[Tensor, list[Tensor]]:
    """The sum over all chunks, and its gradients by those of the inputs (hidden states, parameters) that learn."""
    hidden, *parameters = inputs
    total = hidden.new_zeros((), dtype=_wide(hidden))
    hidden_grad = torch.empty_like(hidden)
    learning = [parameter for parameter, learned in zip(parameters, learns[1:], strict=True) if learned]
    sums = [torch.zeros_like(parameter, dtype=_wide(parameter)) for parameter in learning]  # of many chunks, exact
    for here, there, *rows in _chunks(chunk, hidden, hidden_grad, *beside):
        with torch.enable_grad():
            leaf = here.detach().requires_grad_(learns[0])
            part = function(leaf, *rows)
        total += part.detach()
        grads = [*torch.autograd.grad(part, [leaf, *learning] if learns[0] else learning)]
        if learns[0]:
            there.copy_(grads.pop(0))
        for kept, grad in zip(sums, grads, strict=True):
            kept.add_(grad)
    found = [kept.to(parameter.dtype) for kept, parameter in zip(sums, learning, strict=True)]
    return total, [hidden_grad, *found] if learns[0] else found


def _placed(grads: Sequence[Tensor], learns: Sequence[bool]) -> list[Tensor | None]:
    """Gradients of what learns in its places, none in the others."""
    left = iter(grads)
    return [next(left) if learned else None for learned in learns]


def _chunks(chunk: int, *tensors: Tensor) -> Any:
    """The same rows of each tensor, so many at a time; one piece without rows if there are none."""
    return zip(*(tensor.split(chunk) for tensor in tensors), strict=True)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _autocast(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Makes what computes in the dtypes of now, in a backward pass, which begins without."""
    if not torch.amp.is_autocast_available(device):
        return nullcontext
    return partial(
        torch.autocast,
        device,
        dtype=torch.get_autocast_dtype(device),
        enabled=torch.is_autocast_enabled(device),
        cache_enabled=torch.is_autocast_cache_enabled(),
    )
