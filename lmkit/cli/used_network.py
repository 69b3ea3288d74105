"""What the commands share that go on with texts by a trained network: their options, where it runs, what is written."""

import sys

import torch

from lmkit.callbacks.report import printable
from lmkit.cli.parser import Parser
from lmkit.errors import UserError
from lmkit.network import Decoder, Network


def add_network(parser: Parser) -> None:
    """Adds the options that say which network, and where."""
    parser.add_argument("checkpoint", type=str, help="a .ckpt file, or a run's folder: its newest version's best")
    parser.add_argument(
        "--adapter",
        action="append",
        type=str,
        default=[],
        help="a run or checkpoint with an adapter that was begun from this one, or a folder of peft; again for more",
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--plugins", type=list[str], default=[], help="plugin files, where the run's own have moved")


def add_draws(parser: Parser, temperature: float, top_p: float | None) -> None:
    """Adds the options that say how tokens are drawn, with what is usual."""
    parser.add_argument("--temperature", type=float, default=temperature, help="0 takes the most likely token")
    parser.add_argument("--top_k", type=int | None, default=None, help="draw among the k most likely tokens")
    parser.add_argument("--top_p", type=float | None, default=top_p, help="draw among the fewest that reach share p")
    parser.add_argument("--seed", type=int | None, default=None, help="makes the draws repeatable")


def check_text(text: str, what: str) -> None:
    """Looks whether a text came in UTF-8.

    Args:
        text: from the command line or the input, where Python shows other bytes by halves of characters.
        what: it is.

    Raises:
        UserError: it did not.
    """
    if any("\udc80" <= letter <= "\udcff" for letter in text):
        raise UserError(f"{what} is {text!a}, whose bytes are not UTF-8: give it in UTF-8")


def check_decoder(network: Network, where: str) -> Decoder:
    """The network, if it continues texts.

    Raises:
        UserError: it does not.
    """
    if not isinstance(network, Decoder):
        kind = type(network).__name__
        raise UserError(f"{where} holds a network of class {kind}, but only a Decoder continues texts")
    return network


def device_of(name: str) -> torch.device:
    """The device of this name; `auto` is an accelerator if there is one.

    Raises:
        UserError: it is not here.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name} here: give cpu, or leave --device out") from error
    return device


def write(text: str) -> None:
    """Writes to standard output at once, to a terminal without what could lead it astray."""
    sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()
