"""LoRA whose two matrices learn at rates of their own, LoRA+ (Hayou et al. 2024, arXiv:2402.12354)."""

from typing import Any

from lmkit.errors import UserError
from lmkit.optim.groups import FACTOR
from lmkit.transforms.adapter import ALL, NAME
from lmkit.transforms.lora import LoRA


class LoRAPlus(LoRA):
    """LoRA where B learns faster than A, which begins with zeros and else changes too little in wide networks (Hayou et
    al. 2024, arXiv:2402.12354).

    Args:
        rank: numbers in the middle of the product.
        alpha: multiplies the product, divided by the rank, so that another rank needs no other learning rate.
        dropout: share of the inputs of A set to zero in training.
        targets: patterns of modules' names, such as `blocks.*.attention.q`, or `all-linear` for the matrices of all
            layers, without the head and the routers of mixtures.
        rslora: whether alpha is divided by the root of the rank instead, for large ranks (Kalajdzievski 2023,
            arXiv:2312.03732).
        also: patterns of parameters' names, such as `*norm*` or `embedding.*`, that learn in full; none for none.
        ratio: how many times the optimizer's learning rate is that of B.
    """

    def __init__(
        self,
        rank: int = 16,
        alpha: float = 32.0,
        dropout: float = 0.0,
        targets: list[str] | str = ALL,
        rslora: bool = False,
        also: list[str] | None = None,
        ratio: float = 16.0,
    ) -> None:
        super().__init__(rank, alpha, dropout, targets, rslora, also)
        if ratio <= 0:
            raise UserError(f"ratio of LoRAPlus is {ratio}: give a number above 0, such as 16")
        self.ratio = ratio

    def settle(self, layer: Any) -> None:
        """See `Adapter`."""
        super().settle(layer)
        setattr(layer.lora_B[NAME], FACTOR, self.ratio)
