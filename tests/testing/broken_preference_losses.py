"""Preference losses that break the contract, each in one way."""

import torch
import torch.nn.functional as F

from lmkit.losses import PreferenceLoss


class Margins(PreferenceLoss):
    """Is sound: DPO; the others are made of it."""

    needs_reference = True

    def __call__(self, completions):
        return self.of(self.margins(completions))

    def margins(self, completions):
        chosen, rejected = completions.pairs(completions.log_ratios())
        return 0.1 * (chosen - rejected)

    def of(self, margins):
        return -F.logsigmoid(margins)

    def rewards(self, completions):
        return (0.1 * completions.log_ratios()).detach()


class BrokenLog(Margins):
    """Takes a logarithm of what may be 0."""

    def of(self, margins):
        return -margins.sigmoid().log()


class BrokenSlope(Margins):
    """Takes the gradient of a logarithm of what may be 0, and puts another value in its place."""

    def of(self, margins):
        return torch.where(margins > -50, -margins.sigmoid().log(), -margins)


class BrokenHalf(Margins):
    """Rounds."""

    def of(self, margins):
        return super().of(margins).float()


class BrokenSides(Margins):
    """Prefers the rejected."""

    def of(self, margins):
        return super().of(-margins)


class BrokenOthers(Margins):
    """Teaches what is said to other prompts."""

    def margins(self, completions):
        return super().margins(completions) + 0 * completions.log_probabilities.sum() + 1e-3 * self.others(completions)

    def others(self, completions):
        others = completions.log_probabilities[completions.roles == 2].sum()
        return others - others.detach()


class BrokenCentre(Margins):
    """Compares with the mean of the batch."""

    def of(self, margins):
        return super().of(margins - margins.detach().mean() if len(margins) else margins)


class BrokenPlaces(Margins):
    """Weighs by the place in the batch."""

    def __call__(self, completions):
        places = torch.arange(len(completions.roles), dtype=torch.float64)[completions.roles == 0]
        return (super().__call__(completions) * (2 + (places < 3)).double()).to(completions.log_probabilities.dtype)


class BrokenNeed(Margins):
    """Says that it needs a reference, and reads none."""

    def margins(self, completions):
        chosen, rejected = completions.pairs(completions.log_probabilities)
        return 0.1 * (chosen - rejected)


class BrokenMismatch(Margins):
    """Needs completions of other prompts, and does not say so."""

    def margins(self, completions):
        others = completions.log_ratios()[completions.roles == 2].detach()
        return super().margins(completions) - 0.01 * others.sum()


class BrokenUnpaired(Margins):
    """Leaves out what has no partner."""

    def __call__(self, completions):
        ratios = completions.log_ratios()
        chosen, rejected = ratios[completions.roles == 0], ratios[completions.roles == 1]
        number = min(len(chosen), len(rejected))
        return self.of(0.1 * (chosen[:number] - rejected[:number]))


class BrokenAttached(Margins):
    """Gives rewards with gradients."""

    def rewards(self, completions):
        return 0.1 * completions.log_ratios()


class BrokenReward(Margins):
    """Rewards what is improbable."""

    def rewards(self, completions):
        return -super().rewards(completions)


class BrokenFunction(Margins):
    """Keeps a function that has no name."""

    def __init__(self):
        self.scale = lambda x: 0.1 * x
