"""Low-rank adaptation, LoRA (Hu et al. 2021, arXiv:2106.09685): what is learned is a product of two narrow matrices."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lmkit.errors import UserError
from lmkit.layers import Linear
from lmkit.transforms.adapter import ALL, NAME, Adapter, fresh


class LoRA(Adapter):
    """Adds s B A to matrices that stay as they are, where only A (rank, inputs) and B (outputs, rank) learn, and B
    begins with zeros (Hu et al. 2021, arXiv:2106.09685); s is alpha / rank.

    Args:
        rank: numbers in the middle of the product.
        alpha: multiplies the product, divided by the rank, so that another rank needs no other learning rate.
        dropout: share of the inputs of A set to zero in training.
        targets: patterns of modules' names, such as `blocks.*.attention.q`, or `all-linear` for the matrices of all
            layers that are `Linear`: without the head, and without the routers and experts of mixtures.
        rslora: whether alpha is divided by the root of the rank instead, for large ranks (Kalajdzievski 2023,
            arXiv:2312.03732).
        also: patterns of parameters' names, such as `*norm*` or `embedding.*`, that learn in full; none for none.
    """

    dora = False

    def __init__(
        self,
        rank: int = 16,
        alpha: float = 32.0,
        dropout: float = 0.0,
        targets: list[str] | str = ALL,
        rslora: bool = False,
        also: list[str] | None = None,
    ) -> None:
        super().__init__(targets, also)
        own = type(self).__name__
        if rank < 1:
            raise UserError(f"rank of {own} is {rank}: give 1 or more, such as 16")
        if alpha <= 0:
            raise UserError(f"alpha of {own} is {alpha}: give a number above 0, such as twice the rank")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout of {own} is {dropout}: give a share from 0 to below 1")
        self.rank, self.alpha, self.dropout, self.rslora = rank, alpha, dropout, rslora

    @property
    def scale(self) -> float:
        """By what the product B A is multiplied."""
        return self.alpha / (self.rank**0.5 if self.rslora else self.rank)

    def options(self) -> dict[str, Any]:
        """Its own, by the names of peft."""
        alpha = int(self.alpha) if self.alpha == int(self.alpha) else self.alpha
        learned = {"r": self.rank, "lora_alpha": alpha, "lora_dropout": self.dropout}
        return {**learned, "use_rslora": self.rslora, "use_dora": self.dora}

    def config(self, peft: Any, targets: str) -> Any:
        """See `Adapter`."""
        return peft.LoraConfig(target_modules=targets, **self.options())

    def settle(self, layer: Any) -> None:
        """See `Adapter`; peft would make A in float32 on meta, and B's first values anew with others than zero."""
        weight = layer.base_layer.weight
        layer.lora_A[NAME] = fresh(layer.lora_A[NAME], weight)
        layer.lora_B[NAME] = fresh(Linear(self.rank, weight.size(0), std=0.0), weight)

    def factors(self, parts: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The tensors of a plain LoRA or DoRA that computes the same beside the same matrix.

        Args:
            parts: the adapter's own, by the names that peft gives them.
        """
        return parts

    def merged(self, weight: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """See `Adapter`."""
        return weight + self.scale * (parts["lora_B"].to(weight) @ parts["lora_A"].to(weight))
