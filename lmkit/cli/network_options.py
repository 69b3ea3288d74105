"""Options that the commands share which use a trained network: which one, and on what it runs."""

from lmkit.cli.parser import Parser


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
