"""A conversation with a network: what is said is kept, and the oldest turns go where it outgrows the context."""

from collections.abc import Iterator, Sequence

from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.errors import UserError
from lmkit.inference.generate import go_on
from lmkit.inference.sampling import Sampler
from lmkit.network import Decoder

Message = dict[str, str]


class Conversation:
    """Turns of a user and of a network.

    Args:
        network: in evaluation mode.
        chat: encodes conversations as the network was trained on them.
        sampler: draws the tokens.
        count: the most tokens of an answer.
        system: what the network is told first; none for nothing.

    Attributes:
        messages: what has been said so far.
        forgotten: how many messages are no longer told to the network.
    """

    def __init__(
        self, network: Decoder, chat: ChatEncoder, sampler: Sampler, count: int = 256, system: str | None = None
    ) -> None:
        self._network, self._chat, self._sampler, self._count = network, chat, sampler, count
        self._system: list[Message] = [{"role": "system", "content": system}] if system else []
        self.messages: list[Message] = []
        self.forgotten = 0

    def clear(self) -> None:
        """Begins anew."""
        self.messages, self.forgotten = [], 0

    def answer(self, question: str) -> Iterator[str]:
        """Says something, and yields the answer piece by piece; both are kept once it has ended.

        Raises:
            UserError: the template cannot write what is said, or it alone is longer than the context.
        """
        asked: list[Message] = [*self.messages, {"role": "user", "content": question}]
        ids = self._prompt(asked)
        said: list[str] = []
        room = self._network.context - len(ids)
        for (piece,) in go_on(
            self._network, self._chat.tokenizer, ids, self._chat.stops, self._sampler, min(self._count, room)
        ):
            if text := piece if said else piece.lstrip():
                said.append(text)
                yield text
        self.messages = [*asked, {"role": "assistant", "content": "".join(said)}]

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of the last messages that leave room for an answer, a quarter of the context at least."""
        room = self._network.context - min(self._count, self._network.context // 4)
        for first in range(0, len(messages), 2):  # a question goes with its answer
            ids = self._chat.prompt([*self._system, *messages[first:]])
            if len(ids) <= room:
                self.forgotten = first
                return ids
        raise UserError(
            f"what was said takes {len(ids)} tokens, but the network reads {self._network.context} and answers in "
            f"{self._network.context - room} of them at least: say less"
        )
