"""Checkpoints as runs leave them, without the runs: a network, what a recipe does to it, and noise on what learns."""

from collections.abc import Callable

import torch

from lmkit.checkpoints import KEY, write
from lmkit.data.tokenizer import train
from lmkit.network import Network
from lmkit.registry import build
from lmkit.tasks import Pretraining
from lmkit.tasks.beside import keep_learned
from lmkit.transforms import Transform

V, T = 300, 24
SIZES = {"vocab_size": V, "context": T, "dim": 16, "depth": 2, "heads": 2}
SILU = {"class_path": "lmkit.layers.activations.SiLU"}
GATED = {"class_path": "lmkit.layers.feed_forwards.Gated", "init_args": {"activation": SILU}}
DECODER = "lmkit.network.decoder.Decoder"
NETWORK = {"class_path": DECODER, "init_args": {**SIZES, "feed_forward": GATED, "tied": False}}
TOKENIZER = train(iter(["the cat sat on the mat and was not very happy " * 9]), V).to_str()


def part(name, **options):
    return {"class_path": name, "init_args": options}


def trained(run, *transforms, init_from=None, network=NETWORK, seed=1, dtype=torch.float32):
    """The checkpoint of a run that lies in `run`."""
    model = {"network": network, "transforms": [*transforms], "init_from": init_from and str(init_from)}
    recipe = {"name": run.name, "plugins": [], "model": {"class_path": "Pretraining", "init_args": model}}
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    task = Pretraining(
        build(Callable[[], Network], network), transforms=build(list[Transform], [*transforms]), init_from=init_from
    )
    task.configure_model()
    torch.set_default_dtype(before)
    with torch.no_grad():
        for parameter in task.network.parameters():
            if parameter.requires_grad:
                parameter += 0.2 * torch.randn(parameter.shape)
    held = {
        "state_dict": task.state_dict(),
        "global_step": 0,
        KEY: {"recipe": recipe, "tokenizer": TOKENIZER, "end_of_document": 0},
    }
    if task._base:
        keep_learned(held, task.network, task._base, run)
    path = run / "checkpoints" / "last.ckpt"
    write(held, path, "")
    return task.network.eval(), path


def logits(network):
    tokens = torch.randint(V, (2, T), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        return network.logits(network(tokens))
