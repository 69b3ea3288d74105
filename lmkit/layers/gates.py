"""Gates: what a layer found, multiplied with what its input says of it (Qiu et al. 2025, arXiv:2505.06708)."""

from torch import Tensor, nn

from lmkit.layers.weights import Linear


class OutputGate(nn.Module):
    """Multiplies with a sigmoid of the layer's input.

    Args:
        dim: width of the input.
        width: width of what is multiplied.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.project = Linear(dim, width)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """What was found (B, T, width) and the input (B, T, D), to (B, T, width)."""
        return y * self.project(x).sigmoid()


class NoGate(nn.Module):
    """Leaves what was found as it is."""

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """Gives the first."""
        return y
