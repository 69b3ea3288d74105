"""Optimization: parameter groups and schedules."""

from lmkit.optim.groups import decay_by_rank
from lmkit.optim.schedules import Constant, Schedule, WarmupCosine, WarmupStableDecay

__all__ = ["Constant", "Schedule", "WarmupCosine", "WarmupStableDecay", "decay_by_rank"]
