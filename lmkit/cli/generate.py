"""`lmkit generate`: continues a text with a trained network, as it is written."""

import sys
from collections.abc import Sequence

from lmkit.checkpoints import find
from lmkit.cli.parser import Parser
from lmkit.cli.used_network import add_draws, add_network, check_decoder, check_text, device_of, write
from lmkit.errors import UserError
from lmkit.hf.rebuilding import rebuild
from lmkit.inference import Sampler, complete


def run(arguments: Sequence[str]) -> None:
    """Parses the command line and writes the samples to standard output."""
    options = _parser().parse(arguments[1:])
    check_text(options.prompt, "--prompt")
    for name in ("count", "samples"):
        if options[name] < 1:
            raise UserError(f"--{name} is {options[name]}: give 1 or more")
    sampler = Sampler(options.temperature, options.top_k, options.top_p, options.seed)
    rebuilt = rebuild(find(options.checkpoint), tuple(options.plugins), options.adapter)
    network = check_decoder(rebuilt.network, options.checkpoint).to(device_of(options.device))
    tokens = len(rebuilt.tokenizer.encode(options.prompt, add_special_tokens=False).ids)
    if tokens > network.context:
        print(f"lmkit: the prompt has {tokens} tokens, of which the network reads the last ones", file=sys.stderr)
    pieces = complete(
        network,
        rebuilt.tokenizer,
        rebuilt.end_of_document,
        options.prompt,
        sampler,
        options.count,
        options.samples,
        options.cached,
    )
    if options.samples == 1:
        write(options.prompt)
        for (piece,) in pieces:
            write(piece)
        write("\n")
        return
    texts = ["".join(sample) for sample in zip(*pieces, strict=True)]
    for number, text in enumerate(texts, 1):
        write(f"--- sample {number}\n{options.prompt}{text}\n")


def _parser() -> Parser:
    parser = Parser(prog="lmkit generate", description="Continues a text with a trained network, as it is written.")
    add_network(parser)
    parser.add_argument("--prompt", type=str, default="", help="the text to continue; none starts a new document")
    parser.add_argument("--count", type=int, default=128, help="the most tokens to generate")
    parser.add_argument("--samples", type=int, default=1, help="texts to generate")
    add_draws(parser, temperature=0.8, top_p=None)
    parser.add_argument("--cached", type=bool, default=True, help="whether to keep past keys and values")
    return parser
