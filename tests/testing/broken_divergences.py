"""Divergences that break the contract, each in one way."""

from lmkit.losses import Divergence


class Between(Divergence):
    """Is sound: KL(teacher || student); the others are made of it."""

    temperature = 1.0

    def __call__(self, student, teacher):
        return (teacher.exp() * (teacher - student)).sum(-1)


class BrokenEntropyTerm(Between):
    """Leaves the teacher's entropy in."""

    def __call__(self, student, teacher):
        return -(teacher.exp() * student).sum(-1)


class BrokenTemperature(Between):
    """Has no temperature."""

    temperature = None


class BrokenLogarithm(Between):
    """Takes logarithms of probabilities that may be 0."""

    def __call__(self, student, teacher):
        return (teacher.exp() * (teacher.exp().log() - student.exp().log())).sum(-1)


class BrokenWay(Between):
    """Has its gradient lead away."""

    def __call__(self, student, teacher):
        found = super().__call__(student, teacher)
        return 2 * found.detach() - found


class BrokenAmong(Between):
    """Weighs by what the other tokens have."""

    def __call__(self, student, teacher):
        found = super().__call__(student, teacher)
        return found * (1 + found.detach().mean()) if len(found) else found


class BrokenBoundTemperature(Between):
    """Keeps a function that has no name."""

    def __init__(self):
        self.scale = lambda x: x
