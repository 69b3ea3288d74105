"""Tasks: what a network is trained to do."""

from lmkit.tasks.classification import Classification
from lmkit.tasks.denoising import Denoising
from lmkit.tasks.distillation import Distillation
from lmkit.tasks.masked import MaskedLanguageModel
from lmkit.tasks.preference_optimization import PreferenceOptimization
from lmkit.tasks.pretraining import Pretraining
from lmkit.tasks.reward_model import RewardModel
from lmkit.tasks.sft import SFT
from lmkit.tasks.task import Task

__all__ = [
    "SFT",
    "Classification",
    "Denoising",
    "Distillation",
    "MaskedLanguageModel",
    "PreferenceOptimization",
    "Pretraining",
    "RewardModel",
    "Task",
]
