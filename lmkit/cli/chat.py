"""`lmkit chat`: a conversation with a trained network in the terminal, or line by line in a pipe."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lmkit.checkpoints import KEY, find, read
from lmkit.cli.parser import Parser
from lmkit.cli.used_network import add_draws, add_network, check_decoder, check_text, device_of, write
from lmkit.data.chat_templates.encoder import ChatEncoder
from lmkit.errors import UserError
from lmkit.hf.rebuilding import rebuild
from lmkit.hf.start import files_of
from lmkit.hf.tokens.chatting import encoder_of
from lmkit.inference import Conversation, Sampler

HELP = "/clear begins anew, /exit or the end of the input leaves"


def run(arguments: Sequence[str]) -> None:
    """Parses the command line and talks until the input ends."""
    options = _parser().parse(arguments[1:])
    if options.count < 1:
        raise UserError(f"--count is {options.count}: give 1 or more")
    check_text(options.system or "", "--system")
    sampler = Sampler(options.temperature, options.top_k, options.top_p, options.seed)
    path = find(options.checkpoint)
    rebuilt = rebuild(path, tuple(options.plugins), options.adapter)
    network = check_decoder(rebuilt.network, options.checkpoint).to(device_of(options.device))
    chat = _encoder([path, *options.adapter], network.context)
    if chat is None:
        raise UserError(
            f"{options.checkpoint} has learned no conversations, and so has no chat template: continue texts by `lmkit "
            "generate`, or train it on conversations by `lmkit fit -c recipes/sft.yaml`"
        )
    talk(Conversation(network, chat, sampler, options.count, options.system), chat)


def talk(conversation: Conversation, chat: ChatEncoder) -> None:
    """Answers line after line."""
    for line in _lines():
        if line in ("/exit", "/quit"):
            return
        if line == "/clear":
            conversation.clear()
            continue
        if line.startswith("/"):
            print(f"lmkit: no command {line.split()[0]}: {HELP}", file=sys.stderr)
            continue
        forgotten = conversation.forgotten
        try:
            for piece in conversation.answer(line):
                write(piece)
        except UserError as error:
            print(f"lmkit: {error}", file=sys.stderr)
            continue
        write("\n")
        if conversation.forgotten > forgotten:
            print("lmkit: the oldest turns no longer fit into the context, and are forgotten", file=sys.stderr)


def _encoder(places: Sequence[str | Path], context: int) -> ChatEncoder | None:
    """How conversations are written, as the last of a run and its adapters that has learned some says."""
    for place in reversed(places):
        if (Path(place) / "adapter_config.json").is_file():  # a folder of peft, which does not say it
            continue
        encoder = encoder_of(files_of(read(find(place))[KEY], context))
        if encoder is not None:
            return encoder
    return None


def _lines() -> Iterator[str]:
    """What the user says, without empty lines."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal:
        print(f"lmkit: {HELP}", file=sys.stderr)
    while True:
        try:
            line = input("> ") if terminal else sys.stdin.readline()
        except EOFError:
            return
        except UnicodeDecodeError as error:
            raise UserError(f"what was said is not UTF-8 (byte {error.start}): give it in UTF-8") from error
        if not terminal and not line:
            return
        check_text(line, "what was said")
        if line.strip():
            yield line.strip()


def _parser() -> Parser:
    parser = Parser(prog="lmkit chat", description=f"Talks with a network that has learned conversations: {HELP}.")
    add_network(parser)
    parser.add_argument("--system", type=str | None, default=None, help="what the network is told first")
    parser.add_argument("--count", type=int, default=256, help="the most tokens of an answer")
    add_draws(parser, temperature=0.7, top_p=0.95)
    return parser
