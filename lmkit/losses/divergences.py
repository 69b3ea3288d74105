"""The kind of divergences by which a student learns from a teacher, and Kullback and Leibler's, both ways round."""

from abc import ABC, abstractmethod

from torch import Tensor

from lmkit.losses.distillation import forward_kl, reverse_kl
from lmkit.losses.options import check_positive


class Divergence(ABC):
    """A kind: how far a student's distribution over the next token is from a teacher's.

    Attributes:
        temperature: by which the logits of both are divided before they become probabilities.
    """

    temperature: float

    @abstractmethod
    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Log-probabilities (N, V) of both to nats a token (N): 0 where they agree, above 0 elsewhere."""


class ForwardKL(Divergence):
    """KL(teacher || student): the student is to say all that the teacher may (Hinton et al. 2015, arXiv:1503.02531).

    Args:
        temperature: above 0; above 1 it tells more of what the teacher finds unlikely.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        check_positive(temperature=temperature)
        self.temperature = temperature

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `Divergence`."""
        return forward_kl(student, teacher)


class ReverseKL(Divergence):
    """KL(student || teacher): the student is to say nothing that the teacher would not (MiniLLM, Gu et al. 2023,
    arXiv:2306.08543, eq. 1), here token by token on the texts of the data.

    Args:
        temperature: above 0; above 1 it tells more of what the teacher finds unlikely.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        check_positive(temperature=temperature)
        self.temperature = temperature

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """See `Divergence`."""
        return reverse_kl(student, teacher)
