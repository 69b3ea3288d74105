"""For each example, another one of another prompt: always the same one, found for all of them at once."""

import numpy as np
from numpy.typing import NDArray


def of_another_prompt(prompts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The next example of another prompt, from half-way round on (N): rows of a kind often stand together.

    Args:
        prompts: equal numbers where the prompts are equal (N); not all are.
    """
    count = len(prompts)
    half = (np.arange(count) + count // 2) % count
    last = np.flatnonzero(prompts != np.roll(prompts, -1))  # of neighbours with one prompt
    behind = last[np.searchsorted(last, half) % len(last)] + 1
    return np.where(prompts[half] == prompts, behind % count, half)
