"""Learning rates of their own for some of what learns, as factors of the recipe's."""

from typing import ClassVar, Literal

from lmkit.errors import UserError
from lmkit.network import Network
from lmkit.optim.groups import FACTOR
from lmkit.transforms.patterns import matching
from lmkit.transforms.transform import Transform


class LearningRate(Transform):
    """Multiplies the optimizer's learning rate, for all of the network that learns or for what patterns name (the head
    that a classifier has beside it learns at the optimizer's own); listed behind what puts it in or freezes the rest.
    Adapters want some ten times the rate at which all of a network would learn (Schulman and Thinking Machines Lab
    2025, LoRA Without Regret), whatever that is. LoRA is LoRA+ with a factor of 16 for `*.lora_B.*` behind it (Hayou et
    al. 2024, arXiv:2402.12354).

    Args:
        factor: by which it is multiplied; further ones multiply it again.
        names: patterns of parameters' names, such as `embedding.*`, as `Freeze` has them. A module's own parameters
            learn at one rate: where one of them matches, all are meant.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "learning"

    def __init__(self, factor: float, names: list[str] | None = None) -> None:
        if factor <= 0:
            raise UserError(f"factor of LearningRate is {factor}: give a number above 0, such as 10")
        self.factor, self.names = factor, names or ["*"]

    def __call__(self, network: Network) -> Network:
        """Has the modules say their factors, by which the optimizer's groups are made.

        Raises:
            UserError: a pattern matches nothing that learns.
        """
        learned = {name: p for name, p in network.named_parameters(remove_duplicate=False) if p.requires_grad}
        meant = matching(self.names, learned, "LearningRate's names", "parameter that learns")
        for module in {id(owner): owner for owner in map(network.get_submodule, map(_owner, meant))}.values():
            setattr(module, FACTOR, self.factor * getattr(module, FACTOR, 1.0))
        return network


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0]
