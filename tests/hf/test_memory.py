"""The memory that an import takes: the network and one tensor, whatever the size of the files."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from tests.hf.variants import SIZES

MEGABYTE = 2**20
ALLOWANCE = 48 * MEGABYTE  # of the allocator, and of tables

SCRIPT = """
import json, sys, threading, time
import torch
from lmkit.hf.model import Model

torch.set_num_threads(1)


def own_memory():  # bytes that no file backs: pages of a file that is mapped can be given back at any time
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def watch():
    while not done:
        seen.append(own_memory())
        time.sleep(0.001)


model = Model(sys.argv[1])
with torch.device("meta"):
    network = model.build().to(torch.bfloat16)
network.to_empty(device="cpu")
done, seen, began = False, [own_memory()], time.perf_counter()
thread = threading.Thread(target=watch)
thread.start()
model.load_into(network)
took, done = time.perf_counter() - began, True
thread.join()
size = sum(tensor.nbytes for tensor in network.state_dict().values())
print(json.dumps({"before": seen[0], "peak": max(seen), "network": size, "seconds": took, "samples": len(seen)}))
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A wide Llama of a gigabyte in bfloat16, in six files."""
    folder = tmp_path_factory.mktemp("large")
    dim, hidden, depth, vocab = 2048, 8192, 5, 32_000
    keys = {"vocab_size": vocab, "hidden_size": dim, "intermediate_size": hidden, "num_hidden_layers": depth}
    config = {"model_type": "llama", **SIZES, **keys, "num_attention_heads": 16, "num_key_value_heads": 16}
    (folder / "config.json").write_text(json.dumps(config))
    numbers = torch.randn(vocab * dim, generator=torch.Generator().manual_seed(0)).bfloat16()

    def filled(*shape):
        return numbers[: torch.Size(shape).numel()].view(shape).clone()

    files = {"ends": {"model.embed_tokens.weight": filled(vocab, dim), "lm_head.weight": filled(vocab, dim)}}
    files["ends"]["model.norm.weight"] = filled(dim)
    for n in range(depth):
        attention = {f"self_attn.{name}_proj": filled(dim, dim) for name in "qkvo"}
        widening = {f"mlp.{name}_proj": filled(hidden, dim) for name in ("gate", "up")}
        norms = {name: filled(dim) for name in ("input_layernorm", "post_attention_layernorm")}
        parts = attention | widening | norms | {"mlp.down_proj": filled(dim, hidden)}
        files[f"layer{n}"] = {f"model.layers.{n}.{name}.weight": tensor for name, tensor in parts.items()}
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
    places = {tensor: f"{name}.safetensors" for name, tensors in files.items() for tensor in tensors}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder, numbers.nbytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_import_holds_the_network_and_one_tensor(large):
    folder, largest = large
    done = subprocess.run([sys.executable, "-c", SCRIPT, folder], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["network"] > 800 * MEGABYTE and found["samples"] > 50
    above = found["peak"] - found["before"] - found["network"]
    print({**found, "above": above, "largest": largest})
    assert -ALLOWANCE < above < largest + ALLOWANCE
