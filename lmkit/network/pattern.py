"""A pattern: what differs from layer to layer, as a short list that is repeated over the depth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmkit.errors import UserError
from lmkit.layers.kinds import Attention, FeedForward, Position


@dataclass
class Layer:
    """One or more equal layers of a pattern: what they have in place of the network's own parts.

    Args:
        attention: none for the network's.
        feed_forward: none for the network's.
        position: what these layers know of positions; none for the network's.
        repeat: how many layers in a row are so.
    """

    attention: Callable[[int, int], Attention] | None = None
    feed_forward: Callable[[int], FeedForward] | None = None
    position: Callable[[int, int, int], Position] | None = None
    repeat: int = 1


def tile(pattern: Sequence[Layer] | None, depth: int) -> list[int]:
    """For each of `depth` layers the index of its entry in the pattern, which is begun anew when it is through.

    Raises:
        UserError: the pattern is empty, or part of it lies beyond the depth.
    """
    if pattern is None:
        return [0] * depth
    if not pattern:
        raise UserError("pattern is an empty list: leave it out, or name its layers as in [{attention: SelfAttention}]")
    for layer in pattern:
        if layer.repeat < 1:
            raise UserError(f"repeat is {layer.repeat} in the pattern: give the number of such layers, 1 or more")
    once = [index for index, layer in enumerate(pattern) for _ in range(layer.repeat)]
    if len(once) > depth:
        raise UserError(
            f"the pattern has {len(once)} layers, but the network only {depth}: shorten the pattern or raise depth"
        )
    return [once[number % len(once)] for number in range(depth)]
