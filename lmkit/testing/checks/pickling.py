"""Parts that a data module or a task holds travel to processes that are spawned, by pickling."""

import pickle
from collections.abc import Callable
from typing import Any

import torch

from lmkit.data.chat_templates import ChatTemplate
from lmkit.data.conversations import RowFormat
from lmkit.data.corpus import Document, Filter, Source
from lmkit.data.rows import RowSource
from lmkit.losses import Divergence, PreferenceLoss
from lmkit.tasks.references import Reference
from lmkit.testing.checks.chat_template import EOS
from lmkit.testing.checks.filter import TEXTS
from lmkit.testing.conversations import talk
from lmkit.testing.first import read
from lmkit.testing.from_file import FromFile
from lmkit.testing.preferring import Preferring
from lmkit.testing.results import Failed, clean, counted
from lmkit.testing.suite import check
from lmkit.testing.transforming import Transforming
from lmkit.transforms import Transform

KIND = (Transform, Source, Filter, RowSource, RowFormat, ChatTemplate, PreferenceLoss, Reference, Divergence)


@check("pickles", KIND, "keep options and plain data, no open file and no lambda")
def pickles(subject: Any) -> str | None:
    """A copy that was pickled does the same."""
    with subject.beside():
        part = subject.make()
        try:
            kept = pickle.dumps(part)
            copy = pickle.loads(kept)
        except Exception as error:
            raise Failed(f"it cannot be pickled ({clean(error)})") from error
        does = DOES[subject.kind]
        if does(subject, part) != does(subject, copy):
            raise Failed("pickled and read again, it does something else")
    return counted(len(kept), "byte")


def _transforms(subject: Transforming, part: Transform) -> Any:
    torch.manual_seed(0)
    network = subject.transformed(part)
    learned = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    return learned, {name: tensor.tolist() for name, tensor in network.state_dict().items()}


def _renders(subject: FromFile, part: ChatTemplate) -> Any:
    return part.render(talk(part), eos_token=EOS), part.special_tokens, part.end_of_turn, part.roles


def _compares(subject: Preferring, part: PreferenceLoss) -> Any:
    completions = subject.completions(6)
    return part(completions).tolist(), part.rewards(completions).tolist()


DOES: dict[type, Callable[[Any, Any], Any]] = {
    Transform: _transforms,
    Source: lambda subject, part: read(subject, part, 16),
    Filter: lambda subject, part: [part(Document("the kit's", text)) for text in TEXTS.values()],
    RowSource: lambda subject, part: read(subject, part, 16),
    RowFormat: lambda subject, part: part(part.row),
    ChatTemplate: _renders,
    PreferenceLoss: _compares,
    Reference: lambda subject, part: subject.sums(subject.begun(part), [2, 1]).tolist(),
    Divergence: lambda subject, part: part(*subject.pair()).tolist(),
}
"""What is compared, by kind."""
