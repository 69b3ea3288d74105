"""Tasks: what a network is trained to do."""

from lmkit.tasks.pretraining import Pretraining
from lmkit.tasks.task import Task

__all__ = ["Pretraining", "Task"]
