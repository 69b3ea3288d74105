"""Row formats that break the contract, each in one way."""

from typing import ClassVar

from lmkit.data.conversations import Conversation, Preference, RowFormat
from lmkit.errors import UserError


class AskAnswer(RowFormat):
    """Is sound: a question and its answer; the others are made of it.

    Args:
        polite: whether the question ends with a please.
    """

    gives = Conversation
    keys = ("ask", "answer")
    row: ClassVar = {"ask": "Who?", "answer": "Nobody."}

    def __init__(self, polite: bool = False) -> None:
        self.polite = polite

    def read(self, values):
        if not all(isinstance(values[key], str) for key in self.keys):
            raise UserError("the ask or the answer is no text: give one")
        asked = values["ask"] + ", please" * self.polite
        return Conversation(({"role": "user", "content": asked}, {"role": "assistant", "content": values["answer"]}))


class BrokenExample(AskAnswer):
    """Has an example of another format."""

    row: ClassVar = {"question": "Who?", "answer": "Nobody."}
    aliases: ClassVar = {"quest": "ask"}

    def __call__(self, values):
        return super().__call__({"ask": "Who?"} | values)


class BrokenAliases(AskAnswer):
    """Has an alias of a key that it does not read."""

    aliases: ClassVar = {"question": "aks"}


class BrokenGives(AskAnswer):
    """Says that it gives something else."""

    gives = Preference

    def read(self, values):
        found = super().read(values)
        return found if values == self.row else Preference((found.messages[0],), (found.messages[1],), ())


class BrokenMeaning(AskAnswer):
    """Reads its example as what nothing is learned from."""

    row: ClassVar = {"ask": "Who?", "answer": " "}


class BrokenRowChange(AskAnswer):
    """Changes the row."""

    def read(self, values):
        if not isinstance(values["ask"], str):
            raise UserError("the ask is no text: give one")
        values["ask"] = values["ask"].strip() + " "
        return super().read(values)


class BrokenRowMemory(AskAnswer):
    """Reads otherwise what comes after a fault."""

    def read(self, values):
        try:
            return super().read(values)
        except UserError:
            self.polite = True
            raise


class BrokenTypes(AskAnswer):
    """Takes each value for a text."""

    def read(self, values):
        asked, answer = (values[key].strip() for key in self.keys)
        return Conversation(({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))


class BrokenLaxness(AskAnswer):
    """Makes texts of whatever comes."""

    def __call__(self, values):
        return super().__call__({key: f"It is {values.get(key)}" for key in self.keys})


class BrokenFormatOption(AskAnswer):
    """Keeps its option under another name.

    Args:
        shout: whether letters are large.
    """

    def __init__(self, shout: bool = False) -> None:
        super().__init__()
        self.loud = shout


class BrokenFormatLambda(AskAnswer):
    """Keeps a function that has no name."""

    def __init__(self) -> None:
        super().__init__()
        self.strip = lambda text: text.strip()
