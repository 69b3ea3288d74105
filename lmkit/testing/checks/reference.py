"""References: a log-probability for each completion, by a network that stays as the run has started."""

from torch import Tensor

from lmkit.tasks.references import Reference
from lmkit.testing.referring import Referring
from lmkit.testing.results import Failed, counted, difference, finite, hold, short
from lmkit.testing.suite import check
from lmkit.testing.toys import generators, same_generators

KIND = (Reference,)
NUMBERS = [3, 0, 7, 4]
CLOSE = 1e-4
"""Nats that rows of other shapes may be apart, as a share, in the precision of the run."""
COARSE = 0.05
"""As a share of a log-probability: how far a reference in few bits may be from the network that the run starts from."""


@check("log-probabilities", KIND, "give one for each completion (C), in float32, under torch.no_grad()", runs=True)
def sums(subject: Referring) -> str | None:
    """Those of the network that the run starts from, to train and to validate on, without gradients."""
    task = subject.begun()
    for training in (True, False):
        found, data = subject.sums(task, NUMBERS, training), task.trainer.datamodule
        trees = data.rows(data.train if training else data.validation).batch(NUMBERS)
        if found.shape != trees.roles.shape or not found.is_floating_point():
            raise Failed(f"for {len(trees.roles)} completions it gives the shape {tuple(found.shape)}, {found.dtype}")
        if found.requires_grad:
            raise Failed("they have gradients", do="compute them under torch.no_grad()")
        wanted = task.log_probabilities(task.network, trees)[0]  # whose adapters have learned nothing yet
        if not finite(found):
            raise Failed("they are not finite")
        hold(_apart(found, wanted), COARSE, "they are not those of the network that the run starts from, but apart by")
    return counted(len(found), "completion")


@check("examples apart", KIND, "find each completion by its example, and add up its own tokens alone")
def apart(subject: Referring) -> str | None:
    """The completions of each example have the log-probabilities alone that they have in a batch."""
    task = subject.begun()
    together = subject.sums(task, NUMBERS).view(len(NUMBERS), -1)
    alone = [subject.sums(task, [number]) for number in NUMBERS]
    worst = max(_apart(one, other) for one, other in zip(alone, together, strict=True))
    hold(worst, CLOSE, "an example alone has others than in a batch, by a share")
    return short(worst)


@check("stays", KIND, "read a network that does not learn, or keep what it has said")
def stays(subject: Referring) -> str | None:
    """They are the same once the network has learned, and asked twice."""
    task = subject.begun()
    before = [subject.sums(task, NUMBERS, training) for training in (True, False)]
    subject.learn(task)
    after = [subject.sums(task, NUMBERS, training) for training in (True, False)]
    worst = max(_apart(one, other) for one, other in zip(after, before, strict=True))
    hold(worst, CLOSE, "they change as the network learns, by a share")
    return short(worst)


@check("leaves the task alone", KIND, "put back what is switched off, register no module in the task, and draw nothing")
def aside(subject: Referring) -> str | None:
    """Asked, it changes neither what the network computes nor whether it trains, and draws from no global generator."""
    task = subject.begun()
    subject.learn(task)
    trees = task.trainer.datamodule.rows(task.trainer.datamodule.train).batch(NUMBERS)
    before, drawn = task.log_probabilities(task.network, trees)[0], generators()
    task.train()
    task._reference.sums(task, trees)
    if not task.network.training:
        raise Failed("the network is no longer in training")
    if not same_generators(drawn, generators()):
        raise Failed("it draws from a global random generator")
    after = task.eval().log_probabilities(task.network, trees)[0]
    hold(difference(before, after), 0.0, "the network computes something else afterwards,")
    return None


def _apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest."""
    return difference(found.double(), wanted.double()) / max(float(wanted.detach().abs().max()), 1e-30)
