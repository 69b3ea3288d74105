"""Parameters that stay as they are, as in transfer from a trained network (Yosinski et al. 2014, arXiv:1411.1792)."""

from typing import ClassVar, Literal

from lmkit.errors import UserError
from lmkit.network import Network
from lmkit.transforms.patterns import matching
from lmkit.transforms.transform import Transform


class Freeze(Transform):
    """Parameters with these names get no gradient and no weight decay, and the optimizer keeps nothing for them
    (Yosinski et al. 2014, arXiv:1411.1792).

    A pattern is compared with whole names such as `blocks.0.attention.q.weight`: `*` stands for any letters, `?` for
    one, `[0-3]` for one of several; `blocks.-1.*` is the last block. A parameter of two names, such as the embedding
    that an `EncoderDecoder` shares, is frozen by either; a tied head is the embedding. What a layer adjusts by itself,
    as `SigmoidRouter` its bias, is still adjusted.

    Args:
        names: patterns of names, such as `embedding.*` or `blocks.[0-3].*`.
        but: patterns of names, out of those, that learn nevertheless; none for none.
    """

    changes: ClassVar[Literal["network", "learning", "nothing"]] = "learning"

    def __init__(self, names: list[str], but: list[str] | None = None) -> None:
        if not names:
            raise UserError("Freeze has no names: give patterns of parameters' names, such as embedding.*")
        self.names, self.but = names, but or []

    def __call__(self, network: Network) -> Network:
        """Has the parameters take no gradient.

        Raises:
            UserError: a pattern matches nothing.
        """
        parameters = dict(network.named_parameters(remove_duplicate=False))
        frozen = matching(self.names, parameters, "Freeze's names", "parameter of the network")
        left = {id(parameters[name]) for name in matching(self.but, frozen, "Freeze's but", "frozen parameter")}
        for parameter in frozen.values():
            if id(parameter) not in left:
                parameter.requires_grad_(False)
        return network
