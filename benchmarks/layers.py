"""What layers cost: each one's share of a training step, and how the cost grows with the context and with experts.

usage: python -m benchmarks.layers [--rounds 7] [--longest 8192] [--precision bf16]

Every figure is the median of several rounds; within a round all that is compared runs once, one after another, so that
the machine's drift hits all alike. A layer is run forward and backward, in training, on its own.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lmkit.layers import (
    MLP,
    ALiBi,
    Attention,
    Gated,
    GatedDeltaNet,
    LatentAttention,
    LayerNorm,
    MixtureOfExperts,
    NoPosition,
    RelativeBias,
    ReLUSquared,
    RMSNorm,
    Rotary,
    SelfAttention,
)
from lmkit.layers.kinds import At
from lmkit.losses import chunked_cross_entropy
from lmkit.network import Decoder

D, HEADS, DEPTH, CONTEXT, ROWS, VOCABULARY = 384, 6, 4, 256, 8, 8192  # gpt-small's
WINDOW = 128
ATTENTIONS = {
    "SelfAttention": SelfAttention,
    "SelfAttention, qk_norm RMSNorm (gpt-small)": partial(SelfAttention, qk_norm=RMSNorm),
    "SelfAttention, 2 kv_heads": partial(SelfAttention, kv_heads=2),
    "SelfAttention, window 64": partial(SelfAttention, window=64),
    "SelfAttention, gated": partial(SelfAttention, gated=True),
    "SelfAttention, soft_cap 50": partial(SelfAttention, soft_cap=50.0),
    "SelfAttention, sinks": partial(SelfAttention, sinks=True),
    "LatentAttention": LatentAttention,
    "GatedDeltaNet": GatedDeltaNet,
}
FEED_FORWARDS = {
    "MLP, ReLUSquared (gpt-small)": partial(MLP, activation=ReLUSquared),
    "MLP, GELU": MLP,
    "Gated": Gated,
    "MixtureOfExperts, 8 experts of 512, 2 active": partial(MixtureOfExperts, experts=8, active=2, hidden=512),
}
NORMS = {"RMSNorm (gpt-small)": RMSNorm, "LayerNorm": LayerNorm}
POSITIONS = {"Rotary (gpt-small)": Rotary, "ALiBi": ALiBi, "RelativeBias": RelativeBias, "NoPosition": NoPosition}


def main() -> None:
    parser = argparse.ArgumentParser(description="Times layers, forward and backward.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--longest", type=int, default=8192, help="the longest context, in tokens")
    parser.add_argument("--precision", choices=["bf16", "32"], default="bf16")
    options = parser.parse_args()
    device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    torch.set_default_device(device)
    bench = Bench(device, options.rounds, options.precision == "bf16")
    print(f"{device}, {torch.get_num_threads()} threads, {options.precision}, medians of {options.rounds} rounds\n")
    shares(bench)
    contexts(bench, options.longest)
    experts(bench)


class Bench:
    """Times things beside each other.

    Args:
        device: where.
        rounds: how often each is run.
        autocast: whether in bfloat16 autocast.
    """

    def __init__(self, device: torch.device, rounds: int, autocast: bool) -> None:
        self.device, self.rounds, self.autocast = device, rounds, autocast

    def medians(self, things: Mapping[Any, Callable[[], Any]]) -> dict[Any, float]:
        """Seconds of each."""
        for thing in things.values():
            thing()
        seconds: dict[Any, list[float]] = {name: [] for name in things}
        for _ in range(self.rounds):
            for name, thing in things.items():
                self._wait()
                start = time.perf_counter()
                thing()
                self._wait()
                seconds[name].append(time.perf_counter() - start)
        return {name: statistics.median(values) for name, values in seconds.items()}

    def step(self, forward: Callable[[], Tensor]) -> Callable[[], None]:
        """Forward and backward."""

        def run() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                y = forward()
            y.float().square().mean().backward()

        return run

    def layer(self, layer: nn.Module, context: int = CONTEXT, rows: int = ROWS) -> Callable[[], None]:
        """Forward and backward of a layer on rows of tokens; an attention with rotary positions."""
        x = torch.randn(rows, context, D, requires_grad=True)
        if not isinstance(layer, Attention):
            return self.step(lambda: layer(x))
        _, at = Rotary(D, HEADS, context)(x, torch.arange(context)[None])
        return self.step(lambda: layer(x, At(rotation=at.rotation)))

    def network(self, rows: int = ROWS, **parts: Any) -> Callable[[], None]:
        """Forward and backward of gpt-small, with other parts."""
        parts = {"attention": partial(SelfAttention, qk_norm=RMSNorm), **parts}
        feed_forward = parts.pop("feed_forward", partial(MLP, activation=ReLUSquared))
        network = Decoder(VOCABULARY, CONTEXT, D, DEPTH, HEADS, feed_forward=feed_forward, **parts)
        tokens = torch.randint(VOCABULARY, (rows, CONTEXT + 1))

        def run() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
                hidden = network(tokens[:, :-1])
                loss, count = chunked_cross_entropy(network.logits, [network.head_weight], hidden, tokens[:, 1:], 512)
            (loss / count).backward()

        return run

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def shares(bench: Bench) -> None:
    """Each layer by itself, and as a share of gpt-small's step with it in place of gpt-small's own."""
    print("## A layer's share of a step\n")
    print(f"gpt-small's shape: width {D}, {DEPTH} blocks, {HEADS} heads, {ROWS} rows of {CONTEXT} tokens; forward and")
    print("backward without the optimizer. Share: of all layers of the kind, in gpt-small with this one.\n")
    print("| layer | in a network | us a token | share of a step | step beside gpt-small's |")
    print("|---|---|---|---|---|")
    for kind, made, number in (
        ("attention", {name: partial(recipe, D, HEADS) for name, recipe in ATTENTIONS.items()}, DEPTH),
        ("feed_forward", {name: partial(recipe, D) for name, recipe in FEED_FORWARDS.items()}, DEPTH),
        ("norm", {name: partial(recipe, D) for name, recipe in NORMS.items()}, 2 * DEPTH + 1),
    ):
        recipes = {"attention": ATTENTIONS, "feed_forward": FEED_FORWARDS, "norm": NORMS}[kind]
        alone = bench.medians({name: bench.layer(make()) for name, make in made.items()})
        steps = bench.medians({name: bench.network(**{kind: recipe}) for name, recipe in recipes.items()})
        own = next(steps[name] for name in steps if "gpt-small" in name)
        for name, seconds in alone.items():
            each = 1e6 * seconds / ROWS / CONTEXT
            share = number * seconds / steps[name]
            print(f"| {name} | {number} | {each:.2f} | {share:.0%} | {steps[name] / own:.2f} |")
    steps = bench.medians({name: bench.network(position=recipe) for name, recipe in POSITIONS.items()})
    own = next(steps[name] for name in steps if "gpt-small" in name)
    for name, seconds in steps.items():
        print(f"| {name} | 1 | | {1 - steps['NoPosition'] / seconds:.0%} | {seconds / own:.2f} |")


def contexts(bench: Bench, longest: int) -> None:
    """Microseconds a token by the length of the row."""
    lengths = [512 * 2**i for i in range(20) if 512 * 2**i <= longest]
    print(
        f"\n## Cost by context\n\nMicroseconds a token, forward and backward, one row; the window is {WINDOW} tokens.\n"
    )
    print("| attention |" + "".join(f" T = {length} |" for length in lengths))
    print("|---|" + "---|" * len(lengths))
    kinds = {
        "SelfAttention": SelfAttention(D, HEADS),
        f"SelfAttention, window {WINDOW}": SelfAttention(D, HEADS, window=WINDOW),
        f"SelfAttention, window {WINDOW}, sinks": SelfAttention(D, HEADS, window=WINDOW, sinks=True),
        "GatedDeltaNet": GatedDeltaNet(D, HEADS),
    }
    cells: dict[str, list[str]] = {name: [] for name in kinds}
    for length in lengths:
        things = {name: bench.layer(layer, length, 1) for name, layer in kinds.items()}
        for name, seconds in bench.medians(things).items():
            cells[name].append(f"{1e6 * seconds / length:.2f}")
    for name, row in cells.items():
        print(f"| {name} | {' | '.join(row)} |")


def experts(bench: Bench) -> None:
    """Microseconds a token by the number of experts and of those that are active."""
    hidden, numbers, rows = 256, (1, 2, 4), 16
    print(
        f"\n## Cost of a mixture\n\nMicroseconds a token, {rows * CONTEXT} tokens, experts of width {hidden}; the last"
    )
    print("row is a Gated as wide as the active experts together.\n")
    print("| experts |" + "".join(f" {active} active |" for active in numbers))
    print("|---|" + "---|" * len(numbers))
    for total in (8, 16, 32, 64):
        mixtures = {active: MixtureOfExperts(D, experts=total, active=active, hidden=hidden) for active in numbers}
        _print_row(bench, str(total), mixtures, rows)
    _print_row(bench, "Gated", {active: Gated(D, hidden=active * hidden) for active in numbers}, rows)


def _print_row(bench: Bench, name: str, layers: Mapping[int, nn.Module], rows: int) -> None:
    seconds = bench.medians({key: bench.layer(layer, CONTEXT, rows) for key, layer in layers.items()})
    print(f"| {name} | {' | '.join(f'{1e6 * value / rows / CONTEXT:.2f}' for value in seconds.values())} |")


if __name__ == "__main__":
    main()
