"""Losses as pure functions of tensors, and the parts that choose among those of preferences."""

from lmkit.data.examples.roles import CHOSEN, MISMATCHED, REJECTED
from lmkit.losses.cross_entropy import chunked_cross_entropy, cross_entropy
from lmkit.losses.distillation import (
    Comparison,
    between_logits,
    between_top_k,
    chunked_distillation,
    forward_kl,
    reverse_kl,
    top_k,
)
from lmkit.losses.divergences import Divergence, ForwardKL, ReverseKL
from lmkit.losses.kto import KTO, kto
from lmkit.losses.log_probabilities import chunked_log_probabilities, log_probabilities
from lmkit.losses.preferences import Completions, PreferenceLoss
from lmkit.losses.rewards import bradley_terry, bradley_terry_accuracy
from lmkit.losses.with_reference import DPO, IPO, RobustDPO, dpo, ipo, robust_dpo
from lmkit.losses.without_reference import CPO, ORPO, SimPO, cpo, orpo, simpo

__all__ = [
    "CHOSEN",
    "CPO",
    "DPO",
    "IPO",
    "KTO",
    "MISMATCHED",
    "ORPO",
    "REJECTED",
    "Comparison",
    "Completions",
    "Divergence",
    "ForwardKL",
    "PreferenceLoss",
    "ReverseKL",
    "RobustDPO",
    "SimPO",
    "between_logits",
    "between_top_k",
    "bradley_terry",
    "bradley_terry_accuracy",
    "chunked_cross_entropy",
    "chunked_distillation",
    "chunked_log_probabilities",
    "cpo",
    "cross_entropy",
    "dpo",
    "forward_kl",
    "ipo",
    "kto",
    "log_probabilities",
    "orpo",
    "reverse_kl",
    "robust_dpo",
    "simpo",
    "top_k",
]
