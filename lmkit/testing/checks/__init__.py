"""The checks, one file for each promise of the contract."""

from lmkit.testing.checks import (
    apart,
    cache,
    causality,
    compiling,
    constructor,
    dtypes,
    export,
    filling,
    gradients,
    repeats,
    schedule,
    sharding,
    size,
    state,
)
from lmkit.testing.suite import Check

CHECKS: tuple[Check, ...] = (
    constructor.signature,
    constructor.documented,
    dtypes.shape_and_dtype,
    dtypes.bfloat16,
    dtypes.autocast,
    causality.tokens,
    causality.gradients,
    apart.rows,
    apart.documents,
    cache.parity,
    cache.windowed,
    gradients.derivative,
    gradients.every_parameter,
    filling.filled,
    state.round_trip,
    repeats.repeats,
    compiling.compiles,
    sharding.two_ranks,
    size.on_meta,
    export.travels,
    schedule.of_the_step,
)
"""In the order in which they are made and printed; a new one is an entry here."""
