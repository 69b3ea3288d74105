"""Norms: rescale each token's vector so that depth does not change its size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.errors import UserError
from lmkit.layers.kinds import Norm


class LayerNorm(Norm):
    """Subtracts the mean and divides by the deviation (Ba et al. 2016, arXiv:1607.06450).

    Args:
        dim: width D, given by the network.
        eps: added to the variance before the root.
        bias: whether a learned offset is added.
        weight: whether each number is multiplied by a learned one; OLMo's has neither (arXiv:2402.00838).
    """

    def __init__(self, dim: int, eps: float = 1e-5, bias: bool = True, weight: bool = True) -> None:
        super().__init__()
        self.shape, self.eps = (dim,), check_eps(eps)
        self.weight = nn.Parameter(torch.empty(dim)) if weight else None
        self.bias = nn.Parameter(torch.empty(dim)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The identity scale."""
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return F.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class RMSNorm(Norm):
    """Divides by the root of the mean square (Zhang and Sennrich 2019, arXiv:1910.07467).

    Args:
        dim: width D, given by the network.
        eps: added to the mean square before the root.
        weight: whether each number is multiplied by a learned one; nanochat's are not.
    """

    def __init__(self, dim: int, eps: float = 1e-6, weight: bool = True) -> None:
        super().__init__()
        self.shape, self.eps = (dim,), check_eps(eps)
        self.weight = nn.Parameter(torch.empty(dim)) if weight else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The identity scale."""
        if self.weight is not None:
            nn.init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        weight = None if self.weight is None else self.weight.to(x.dtype)  # fused kernels want one dtype for all
        return F.rms_norm(x, self.shape, weight, self.eps)


class ZeroCentredRMSNorm(Norm):
    """`RMSNorm` that learns by how much its scale is off 1 (Gemma, arXiv:2403.08295, and its published code), so that
    a weight of 0 is no scale.

    Args:
        dim: width D, given by the network.
        eps: added to the mean square before the root.
    """

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.shape, self.eps = (dim,), check_eps(eps)
        self.weight = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The identity scale."""
        nn.init.zeros_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        precise = torch.promote_types(x.dtype, torch.float32)  # in which 1 + weight keeps small weights
        return F.rms_norm(x.to(precise), self.shape, 1 + self.weight.to(precise), self.eps).to(x.dtype)


class L2Norm(Norm):
    """Divides by the Euclidean length and multiplies by one learned number: as a norm of queries and keys, query-key
    normalisation (Henry et al. 2020, arXiv:2010.04245); as a norm of the stream, ScaleNorm (Nguyen and Salazar 2019,
    arXiv:1910.05895).

    With one for the queries and one for the keys, scores lie within the attention's `scale` times the square of
    `start`, plus and minus. Left alone, the root of K with the attention's own 1 / root of K, they start as those of
    RMSNorm do. The paper has instead `scale: 1`, and log2(L^2 - L) for rows of L tokens as the square of `start`.

    Args:
        dim: width D, given by the network, or K, given by the attention.
        start: the first value of the learned number; none for the root of `dim`.
        eps: the least length that is divided by.
    """

    def __init__(self, dim: int, start: float | None = None, eps: float = 1e-6) -> None:
        super().__init__()
        self.start, self.eps = dim**0.5 if start is None else start, eps
        self.scale = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The first length."""
        nn.init.constant_(self.scale, self.start)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        precise = torch.promote_types(x.dtype, torch.float32)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=precise)
        return x * (self.scale / length.clamp(min=self.eps)).to(x.dtype)


class DynamicTanh(Norm):
    """Squashes each number by tanh(alpha x), with one learned alpha, then a learned scale and offset: a norm without
    statistics (Zhu et al. 2025, arXiv:2503.10622).

    Nothing brings the stream to unit size any more, so the paper's language models scale their embeddings by a learned
    number (its section on large language models): `embedding_norm: LearnedScale`.

    Args:
        dim: width D, given by the network.
        alpha: the first value of the learned slope; the paper's is 0.5.
    """

    def __init__(self, dim: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.start = alpha
        self.alpha = nn.Parameter(torch.empty(1))
        self.weight = nn.Parameter(torch.empty(dim))
        self.bias = nn.Parameter(torch.empty(dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The first slope, scale one, offset zero."""
        nn.init.constant_(self.alpha, self.start)
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        alpha, weight, bias = (p.to(x.dtype) for p in (self.alpha, self.weight, self.bias))
        return torch.tanh(alpha * x) * weight + bias


class LearnedScale(Norm):
    """Multiplies by one learned number, which starts at the root of D: for embeddings, beside `DynamicTanh`.

    Args:
        dim: width D, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.start = dim**0.5
        self.scale = nn.Parameter(torch.empty(1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The root of the width."""
        nn.init.constant_(self.scale, self.start)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return x * self.scale.to(x.dtype)


class NoNorm(Norm):
    """Nothing: leaves each vector as it is.

    Args:
        dim: unused, given by the network.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) as it is."""
        return x


def check_eps(eps: float) -> float:
    """What is added under a root.

    Raises:
        UserError: it is negative.
    """
    if eps < 0:
        raise UserError(f"eps is {eps}: give a small number that is not negative, such as 1e-6")
    return eps
