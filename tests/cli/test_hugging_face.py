"""`lmkit import`, `lmkit export` and `model.init_from`, as a user calls them, there and back."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import load_file

from lmkit.callbacks import HuggingFaceExport
from lmkit.checkpoints import find, read
from lmkit.cli.main import main
from lmkit.data.tokenizer import train
from lmkit.errors import UserError
from lmkit.hf import exporting, writing
from lmkit.hf.importing import IMPORTED
from lmkit.hf.model import Model
from tests.conftest import RECIPES, ROOT
from tests.hf import peers

DIFFERENTIAL = ROOT / "plugins/differential_attention.py"
SWAP = [f"--plugins={DIFFERENTIAL}", "--model.network.attention=DifferentialAttention"]
LLAMA = ["--config", RECIPES / "llama-small.yaml"]


def believed(folder, network, tokenizer, texts, own_code=False, adapter=None, opening=None):
    """A receipt that is never asked for, where the proof itself is not the point."""
    return exporting.Receipt("none", network.context, {}, 0, 0, 0, 0, (), {"transformers": "0", "lmkit": "0"})


@pytest.fixture(scope="module")
def models(tmp_path_factory, toy):
    """A small Llama as a run, as a folder and imported again, a folder with code, an encoder, and another tokenizer."""
    where = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(where)
        patch.setenv("LMKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr(exporting, "check", believed)
        for arguments in (
            ["fit", *LLAMA, *toy, "--model.network.attention.kv_heads=2", "--name=trained"],
            ["export", "runs/trained", "folder"],
            ["import", "folder", "imported"],
            ["fit", "--config", RECIPES / "bert-small.yaml", *toy, "--model.network.vocab_size=310", "--name=encoder"],
            ["fit", "--config", RECIPES / "gpt-small.yaml", *toy, *SWAP, "--name=swapped"],
            ["export", "runs/swapped", "own-code"],
        ):
            assert main([str(argument) for argument in arguments]) == 0
    for name in ("trained", "encoder"):
        (where / "runs" / name / "version_0").rename(where / name)
    shutil.rmtree(where / "runs")
    train(iter(["other words than those " * 50]), 300).save(str(where / "other.json"))
    return where


@pytest.fixture
def made(models, run, monkeypatch):
    """The same, to be used and changed here; exports are believed."""
    shutil.copytree(models, Path(), dirs_exist_ok=True)
    monkeypatch.setattr(exporting, "check", believed)


@pytest.fixture
def fitting(toy):
    """Options of a short run whose network is that which it starts from."""
    return [option for option in toy if "network" not in option and "vocab_size" not in option]


@pytest.mark.slow
def test_there_and_back(run, made):
    """What is exported, imported and exported again is the same; each command takes what was imported."""
    names = {path.name for path in Path("folder").iterdir()}
    told = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert names == {*told, "README.md", "model.safetensors"}
    assert len({path.stat().st_mode for path in Path("folder").iterdir()}) == 1
    config = json.loads(Path("folder/config.json").read_text())
    assert (config["model_type"], config["num_key_value_heads"], config["dtype"]) == ("llama", 2, "float32")
    assert run("generate", "imported", "--prompt=the cat", "--count=3")[0] == 0
    assert run("export", "imported", "folder-2")[0] == 0
    for name in names - {"README.md"}:
        assert (Path("folder") / name).read_bytes() == (Path("folder-2") / name).read_bytes(), name
    ours, theirs = (read(find(name))["state_dict"] for name in ("trained", "imported"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_run_starts_from_a_folder_an_import_or_a_run_and_keeps_what_came_along(run, fitting, made):
    """With the network and the tokenizer of that, whatever the recipe says of them."""
    config = json.loads(Path("folder/config.json").read_text())
    Path("folder/config.json").write_text(json.dumps({**config, "bos_token_id": 7}))
    shutil.rmtree("imported")
    assert run("import", "folder", "imported")[0] == 0
    before = load_file("folder/model.safetensors")["model.embed_tokens.weight"]
    losses = []
    for number, source in enumerate(("folder", "imported", "trained")):
        command = ["fit", "--config", RECIPES / "gpt-small.yaml", *fitting, f"--name=run{number}"]
        code, out, errors = run(*command, f"--model.init_from={source}", "--model.optimizer.lr=0")
        assert code == 0, errors
        losses.append(re.search(r"validation loss +(\S+)", out)[1])
        held = read(f"runs/run{number}/version_0/checkpoints/last.ckpt")
        assert torch.equal(held["state_dict"]["network.embedding.weight"], before)
        recipe = held["lmkit"]["recipe"]
        assert recipe["model"]["init_args"]["network"]["init_args"]["feed_forward"]["class_path"].endswith("Gated")
        assert (held["lmkit"].get(IMPORTED) or {}).get("config", {}).get("bos_token_id") == (
            None if source == "trained" else 7
        )
    assert len(set(losses)) == 1
    assert run("validate", *LLAMA, *fitting, "--model.init_from=folder")[0] == 0


@pytest.mark.slow
def test_a_recipe_may_say_where_it_starts_and_the_command_line_what_changes(run, fitting, made):
    recipe = yaml.safe_load((RECIPES / "gpt-small.yaml").read_text())
    recipe["model"]["init_args"]["init_from"] = "folder"
    Path("own.yaml").write_text(yaml.safe_dump(recipe))
    change = "--model.network.attention.window=16"
    assert run("fit", "--config", "own.yaml", *fitting, change)[0] == 0
    network = yaml.safe_load(Path("runs/own/version_0/config.yaml").read_text())["model"]["init_args"]["network"]
    attention = network["init_args"]["attention"]["init_args"]
    assert (attention["window"], attention["kv_heads"]) == (16, 2)
    more = [*fitting, change, "--trainer.max_steps=4"]
    code, _, errors = run("fit", "--config", "own.yaml", *more, "--ckpt_path", "last")
    assert code == 0, errors
    shutil.rmtree("folder")  # which the run needs no more
    more[-1] = "--trainer.max_steps=6"
    code, _, errors = run("fit", "--config", "runs/own/version_0/config.yaml", *more, "--ckpt_path", "last")
    assert code == 0, errors


def test_dtype_and_shards_of_an_export(run, made):
    shutil.rmtree("folder")
    assert run("export", "trained", "folder", "--dtype=bfloat16", "--shard=40000", "--license=mit")[0] == 0
    index = json.loads(Path("folder/model.safetensors.index.json").read_text())
    files = sorted(path.name for path in Path("folder").glob("*.safetensors"))
    assert sorted(set(index["weight_map"].values())) == files
    assert len(files) > 1
    assert all(re.fullmatch(r"model-\d{5}-of-\d{5}\.safetensors", name) for name in files)
    held = {name: tensor for file in files for name, tensor in load_file(Path("folder") / file).items()}
    assert {tensor.dtype for tensor in held.values()} == {torch.bfloat16}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in held.values())
    assert json.loads(Path("folder/config.json").read_text())["dtype"] == "bfloat16"
    assert "license: mit" in Path("folder/README.md").read_text()
    assert Model("folder").tensors()["embedding.weight"].dtype == torch.bfloat16


def test_what_an_import_leaves_out_is_told(run, made):
    folder = peers.made("deepseek_v3", Path("more")).folder
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_nextn_predict_layers": 1}))
    code, out, errors = run("import", folder, "out", "--tokenizer=folder/tokenizer.json")
    assert code == 0, errors
    assert re.search(r"^  note: .*num_nextn_predict_layers: 1", out, re.MULTILINE)


@pytest.mark.slow
def test_a_class_that_builds_another_tokenizer_is_not_named_again_and_that_is_said(run, models):
    shutil.copytree(models / "folder", "came")
    config = json.loads(Path("came/tokenizer_config.json").read_text())
    Path("came/tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "LlamaTokenizer"}))
    assert run("import", "came", "imported")[0] == 0
    code, out, errors = run("export", "imported", "folder")
    assert code == 0, errors
    said = "PreTrainedTokenizerFast, as LlamaTokenizer makes other tokens than tokenizer.json says"
    assert f"note: the tokenizer's class is {said}" in out
    assert f"| class | {said} |" in Path("folder/README.md").read_text()
    assert json.loads(Path("folder/tokenizer_config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"


@pytest.mark.slow
def test_an_export_is_proved_and_one_that_is_wrong_leaves_nothing(run, models, monkeypatch):
    code, out, errors = run("export", models / "trained", "folder")
    assert code == 0, errors
    assert re.search(r"read as +LlamaForCausalLM", out)
    assert re.search(r"verdict +passed", out)
    assert "passed" in Path("folder/README.md").read_text()
    write = writing.write_shards

    def wrong(folder, tensors, *more):
        write(
            folder, ((name, tensor * 1.1 if name == "model.norm.weight" else tensor) for name, tensor in tensors), *more
        )

    monkeypatch.setattr(writing, "write_shards", wrong)
    code, _, errors = run("export", models / "trained", "other")
    assert code == 1
    assert re.search(r"not the same model: logits .* differ by", errors)
    assert not list(Path().glob("other*"))


@pytest.mark.slow
def test_a_fit_exports_at_its_end_and_a_network_of_no_family_takes_its_code_along(run, toy):
    options = ["--trainer.callbacks=HuggingFaceExport", "--trainer.callbacks.dtype=bfloat16"]
    code, _, errors = run("fit", "--config", RECIPES / "gpt-small.yaml", *toy, *options, *SWAP)
    assert code == 0, errors
    folder = Path("runs/gpt-small/version_0/huggingface")
    assert "LmkitForCausalLM" in (folder / "README.md").read_text()


@pytest.mark.parametrize("folder", ["../models", "checkpoints", "/tmp/x", ".", "a/../b"])
def test_a_fit_exports_into_a_folder_of_its_own(run, toy, folder):
    options = ["--trainer.callbacks=HuggingFaceExport", f"--trainer.callbacks.folder={folder}"]
    code, _, errors = run("fit", *LLAMA, *toy, *options)
    assert code == 2
    assert "give one within the run's, such as huggingface" in errors


def test_what_else_is_where_an_export_goes_is_left_alone(tmp_path, made, monkeypatch):
    """A folder of an earlier end of the run is replaced, and any other is told before the run begins."""
    run = Path("trained").absolute()
    trainer = SimpleNamespace(default_root_dir=run, is_global_zero=True)
    callback = HuggingFaceExport()
    for _ in range(2):
        callback.on_fit_start(trainer, None)
        callback.on_fit_end(trainer, None)
    held = {path.name for path in (run / "huggingface").iterdir()}
    assert {"config.json", "README.md"} <= held
    (run / "huggingface/README.md").write_text("mine")
    with pytest.raises(UserError, match="is no export"):
        callback.on_fit_start(trainer, None)
    shutil.rmtree(run / "huggingface")
    (run / "huggingface").symlink_to(tmp_path)
    with pytest.raises(UserError, match="is no export"):
        callback.on_fit_start(trainer, None)

    def meanwhile(*arguments, **options):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")
        return believed(*arguments, **options)

    monkeypatch.setattr(exporting, "check", meanwhile)
    with pytest.raises(UserError, match="has come to be there meanwhile, and is left as it is"):
        exporting.export(run, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    with pytest.raises(UserError, match="at most 0 bytes"):
        exporting.export(run, tmp_path / "out-2", shard=0)


@pytest.fixture
def differential(run, models, monkeypatch):
    """The file of a plugin, and the folder of a network with it, exported with its own code."""
    monkeypatch.setattr(exporting, "check", believed)
    shutil.copytree(models / "own-code", "folder")
    return DIFFERENTIAL


@pytest.mark.slow
def test_a_network_that_went_with_its_own_code_comes_back(run, fitting, differential):
    """Built of the classes that are known here: what the folder's files say counts for nothing."""
    for path in Path("folder").glob("*.py"):
        path.write_text("raise SystemExit('run')\n")
    code, _, errors = run("import", "folder", "imported", f"--plugins={differential}")
    assert code == 0, errors
    recipe = yaml.safe_load(Path("imported/config.yaml").read_text())
    assert recipe["plugins"] == [str(differential)]
    assert recipe["model"]["init_args"]["network"]["init_args"]["attention"]["class_path"].endswith(
        ".DifferentialAttention"
    )
    assert run("generate", "imported", "--prompt=the cat", "--count=3")[0] == 0
    assert run("export", "imported", "folder-2")[0] == 0
    for path in Path("folder").iterdir():
        if path.suffix in {".json", ".safetensors"}:
            assert path.read_bytes() == (Path("folder-2") / path.name).read_bytes(), path.name
    on = ["--model.init_from=folder", f"--plugins={differential}"]
    code, _, errors = run("fit", "--config", RECIPES / "llama-small.yaml", *fitting, *on)
    assert code == 0, errors


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("attention", {"class_path": "lmkit_plugins.mine.Unknown"}, "give its file, mine.py, as --plugins"),
        ("norm", {"class_path": "os.system"}, "install the package of os"),
        ("norm", "antigravity.fly", "names the class 'antigravity.fly', which is neither lmkit's"),
        ("norm", "{class_path: antigravity.fly}", "names the class '{class_path: antigravity.fly}'"),
        ("norm", '{"class_path": "antigravity.fly"}', "names the class"),
        ("pattern", "- antigravity.fly", "names the class '- antigravity.fly'"),
        ("norm", "class_path", "names the class 'class_path'"),
        ("norm", "x" * 999, "names the class 'xxx"),
        ("norm", {"class_path": "Decoder"}, "describes no network that can be built"),
        ("depth", 10**9, "layers, but its files hold"),
        ("depth", "three", "describes no network that can be built"),
        ("norm", {"class_path": ["os"]}, "names the class \"['os']\""),
        ("depth", 3, "lacks network.blocks.2"),
        ("heads", 5, "describes no network that can be built"),
        (None, None, "holds no recipe"),
    ],
)
def test_nothing_is_built_of_what_is_not_known(run, differential, option, value, told):
    config = json.loads(Path("folder/config.json").read_text())
    if option:
        config["recipe"]["init_args"][option] = value
    else:
        del config["recipe"]["init_args"]
    Path("folder/config.json").write_text(json.dumps(config))
    Path("class_path").write_text("class_path: antigravity.fly")
    code, _, errors = run("import", "folder", "imported", f"--plugins={differential}")
    assert code == 2
    assert told in errors
    assert "antigravity" not in sys.modules
    assert not Path("imported").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["import", "nowhere", "out"], "no folder nowhere"),
        (["import", "folder", "out", "--tokenizer=folder/config.json"], "config.json is a file, but not called"),
        (["import", "folder", "folder"], "folder is there already"),
        (["export", "nowhere", "out"], "no checkpoint at nowhere"),
        (["export", "encoder", "out"], "only a Decoder can be exported"),
        (["fit", *LLAMA, "--model.init_from=nowhere"], "nowhere"),
        (["fit", *LLAMA, "--model.init_from=folder", "--model.network.dim=48"], "cannot start from folder"),
        (["fit", *LLAMA, "--model.init_from=folder", "--data.tokenizer=other.json"], "leave out data.tokenizer"),
        (["fit", *LLAMA, "--ckpt_path=imported"], "--model.init_from"),
        (["fit", *LLAMA, "--model.init_args.init_from=folder"], "is said too late to be heard: give --model.init_from"),
        (["fit", "--config", RECIPES / "bert-small.yaml", "--model.init_from=folder"], "Encoder"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(run, fitting, made, arguments, told):
    code, _, errors = run(*arguments, *(fitting if arguments[0] == "fit" else []))
    assert code == 2, errors
    assert told in errors
    assert "Traceback" not in errors
    assert not Path("out").exists()
    assert not Path("runs").exists()
