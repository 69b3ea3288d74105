"""Shows what the network writes: a text after each validation."""

from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from lmkit.inference import Sampler, go_on
from lmkit.network import Decoder
from lmkit.tasks import Task


class Samples(Callback):
    """Logs a text sample to TensorBoard after each validation, always from the same prompt and draws.

    Args:
        prompt: the text to continue; empty starts a new document. Of a chat: the question to answer; empty takes the
            first that the data holds out.
        count: the most tokens to generate.
        temperature: divides the logits; 0 takes the most likely token.
    """

    def __init__(self, prompt: str = "", count: int = 128, temperature: float = 0.8) -> None:
        self.prompt, self.count, self.temperature = prompt, count, temperature
        self.text = ""

    def on_validation_end(self, trainer: Trainer, pl_module: Task) -> None:  # type: ignore[override]
        """Writes a sample, on the first rank."""
        if trainer.sanity_checking or not trainer.is_global_zero or not trainer.datamodule:  # type: ignore[attr-defined]
            return
        if not isinstance(pl_module.network, Decoder) or not pl_module.writes_text:  # nothing else continues a text
            return
        self.text = self.sample(trainer, pl_module.network)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                code = "    " + self.text.replace("\n", "\n    ")  # Markdown's form of text that is shown as it is
                logger.experiment.add_text("sample", code, trainer.global_step)

    def sample(self, trainer: Trainer, network: Decoder) -> str:
        """The prompt and its continuation by the network as it is."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        training = network.training
        network.eval()
        sampler = Sampler(self.temperature, seed=0)
        pieces = go_on(network, data.tokenizer, *self._begin(data), sampler, self.count)
        text = self._told(data) + "".join(piece for (piece,) in pieces)
        network.train(training)
        return text

    def _begin(self, data: Any) -> tuple[list[int], tuple[int, ...]]:
        """The tokens to continue, and those that end it: of a chat, a question that is not learned."""
        if not hasattr(data, "chat"):
            text = data.tokenizer.encode(self.prompt, add_special_tokens=False).ids
            return [data.end_of_document, *text], (data.end_of_document,)
        if self.prompt:
            return data.chat.prompt([{"role": "user", "content": self.prompt}]), data.chat.stops
        return data.sample_prompt(), data.chat.stops

    def _told(self, data: Any) -> str:
        """What stands before the continuation."""
        if not hasattr(data, "chat"):
            return self.prompt
        text: str = data.tokenizer.decode(self._begin(data)[0], skip_special_tokens=False)
        return text
