"""The longest cut of a row that fits, found by halves: to write a cut and encode it takes as long as it has turns."""

from bisect import bisect_right
from collections.abc import Callable, Sequence

from lmkit.data.examples.maker import Example
from lmkit.errors import UserError


def longest_that_fits(
    cuts: Sequence[int], context: int, least: Callable[[int], int], made: Callable[[int], Example | None]
) -> Example | None:
    """The example of the longest cut that fits; none if none does.

    Of all that `least` lets through, the longest one is made, and shorter ones only while that does not fit: where a
    longer cut takes fewer tokens, as where the last answer alone keeps its thoughts, none is missed.

    Args:
        cuts: of the row, by any number, the shortest first.
        context: tokens that there is room for.
        least: tokens of a cut, or fewer; what a longer cut gives is no less. Where a template breaks this, what is
            found fits, but a longer one may be missed.
        made: the example of a cut; none where it is too long.

    Raises:
        UserError: by `made`.
    """

    def taken(cut: int) -> int:
        try:
            return least(cut)
        except UserError:  # `made` says what is wrong, if it comes to this cut
            return 0

    possible = bisect_right(cuts, context, key=taken)
    examples = map(made, reversed(cuts[:possible]))
    return next((example for example in examples if example is not None), None)
