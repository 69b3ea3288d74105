"""Plugins as their author meets them: listed, shown, begun, told apart, and told of when they fail."""

import gc
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from jsonargparse import ActionConfigFile
from lightning import LightningDataModule, Trainer

from lmkit.cli.parser import Parser
from lmkit.cli.plugins.describe import usable
from lmkit.cli.plugins.new import file_name
from lmkit.cli.plugins.places import reads_memory
from lmkit.cli.plugins.snippet import snippet
from lmkit.cli.plugins.table import table
from lmkit.data.chat_templates import ChatML, ChatTemplate, JinjaFile
from lmkit.data.packing import Batch
from lmkit.kinds import KINDS
from lmkit.layers import MixtureOfExperts
from lmkit.layers.weights import initialize
from lmkit.network import Decoder
from lmkit.registry import concrete, load_plugins
from lmkit.tasks import Pretraining, Task
from lmkit.tasks.references import AdaptersOff
from lmkit.transforms import FourBits, LoRA
from tests.conftest import RECIPES

RECIPE = RECIPES / "gpt-small.yaml"
TRIAL = "--trainer.fast_dev_run=true"
NORM = '''
"""A norm of a test (arXiv:1234.56789)."""
from lmkit.layers import RMSNorm

class {name}(RMSNorm):
    """Like another.

    And more.
    """
'''
BUILT_IN = [
    (kind, cls) for kind, (base, _) in KINDS.items() for cls in usable(base) if cls.__module__.startswith("lmkit.")
]
BUILT_IN = [(kind, cls) for kind, cls in BUILT_IN if ".templates." not in cls.__module__]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a package of one module, which offers itself as a plugin, where Python finds it."""

    def put(name, text):
        site = tmp_path / "site"
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[lmkit.plugins]\n{name} = {name}\n")
        monkeypatch.syspath_prepend(site)

    return put


def test_all_kinds_are_listed_with_their_classes(run):
    code, out, errors = run("plugins", "list")
    assert code == 0, errors
    lines = out.splitlines()
    assert set(KINDS) <= {line for line in lines if not line.startswith(" ")}
    assert any(line.split()[:3] == ["RMSNorm", "built-in", "1910.07467"] and "root" in line for line in lines)
    assert any(line.startswith("  torch ") and "AdamW" in line for line in lines)
    assert "Transformer " not in out  # which has no forward
    for name in ("SelfAttention", "Rotary", "Decoder", "WarmupCosine", "Pretraining", "Text", "Samples"):
        assert any(line.split()[:2] == [name, "built-in"] for line in lines), name


def test_plugins_of_recipes_and_files_are_listed_with_origin_and_paper(run):
    Path("listed.py").write_text(NORM.format(name="ListedNorm"))
    Path("named.py").write_text(NORM.format(name="NamedNorm"))
    Path("recipe.yaml").write_text("plugins: [named.py]")
    _, out, _ = run("plugins", "list", "norm", "-c", "recipe.yaml", "--plugins=listed.py")
    rows = [line.split() for line in out.splitlines()]
    assert ["ListedNorm", "listed.py", "1234.56789", "Like", "another."] in rows
    assert ["NamedNorm", "named.py", "1234.56789", "Like", "another."] in rows
    assert "Rotary" not in out


@pytest.mark.parametrize("width", [20, 45, 80, 200])
def test_a_table_keeps_to_the_width_and_loses_nothing(width):
    words = ["some words that go on and on until there is no room left in the line for any more of them"]
    rows = [["Short", "built-in", "", *words], ["LongerName", "a/path.py", "1234.56789", *words]]
    lines = table(rows, width).splitlines()
    assert max(map(len, lines)) <= width
    assert all(word in " ".join(lines) for row in rows for cell in row for word in cell.split())
    if width == 200:
        assert len({line.index("some words") for line in lines}) == len({len(lines) - 1}) == 1


def test_an_installed_package_is_listed_and_used(run, install, toy):
    install("inst_pkg", NORM.format(name="InstalledNorm"))
    assert any(
        line.split()[:4] == ["InstalledNorm", "inst_pkg", "1.2", "1234.56789"]
        for line in run("plugins", "list", "norm")[1].splitlines()
    )
    code, _, errors = run("fit", "-c", RECIPE, *toy, "--model.network.norm=InstalledNorm", TRIAL)
    assert code == 0, errors


BROKEN = "import torch\nfrom lmkit.layers import RMSNorm\n\nclass Half{0}(RMSNorm):\n    pass\n\nvalue = 1 / 0\n"


def test_a_broken_file_is_told_with_its_line_and_listed_with_the_others(run):
    Path("torn.py").write_text(BROKEN.format("Torn"))
    Path("recipe.yaml").write_text("plugins: [torn.py]")
    told = f"torn.py does not import (ZeroDivisionError: division by zero, {Path.cwd()}/torn.py:7)"
    code, _, errors = run("fit", "-c", RECIPE, "-c", "recipe.yaml")
    assert code == 2
    assert told in errors
    code, out, _ = run("plugins", "list", "-c", "recipe.yaml")
    assert code == 0
    heading, _, failed = out.partition("not loaded\n")
    assert "RMSNorm" in heading
    assert f"ZeroDivisionError: division by zero, {Path.cwd()}/torn.py:7" in failed
    assert "HalfTorn" not in out


@pytest.mark.slow
def test_a_broken_package_stops_nothing_but_is_told_where_a_class_is_unknown(run, install, toy):
    install("torn_pkg", BROKEN.format("Installed"))
    code, _, errors = run("fit", "-c", RECIPE, *toy, TRIAL)
    assert code == 0, errors
    warning = "lmkit: warning: the plugin torn_pkg of the package torn_pkg 1.2 does not import (ZeroDivisionError"
    assert [line for line in errors.splitlines() if line.startswith(warning) and "torn_pkg.py:7" in line]
    code, _, errors = run("fit", "-c", RECIPE, *toy, "--model.network.norm=HalfInstalled")
    assert code == 2
    message = errors.splitlines()[-1]
    assert "no Norm is called HalfInstalled (not loaded: torn_pkg of the package torn_pkg 1.2: Zero" in message
    code, out, _ = run("plugins", "list", "norm")
    assert code == 0
    assert "torn_pkg.py:7" in out.partition("not loaded\n")[2]


def test_the_line_is_the_plugins_own_and_of_a_missing_module_too(run):
    Path("deep.py").write_text("import torch\n\ntorch.zeros(2).view(3)\n")
    Path("lacks.py").write_text("\nimport no_such_module\n")
    Path("wrong.py").write_text("x = 1\ny = = 2\n")
    _, out, _ = run("plugins", "list", "norm", "--plugins=[deep.py, lacks.py, wrong.py]")
    failed = out.partition("not loaded\n")[2]
    for place in ("deep.py:3", "lacks.py:2", "wrong.py:2", "ModuleNotFoundError", "SyntaxError"):
        assert place in failed, place


def test_two_plugins_of_one_name_are_refused_with_both_origins(run, install):
    Path("left.py").write_text(NORM.format(name="TwinFiles"))
    Path("right.py").write_text(NORM.format(name="TwinFiles"))
    here = Path.cwd()
    code, _, errors = run("fit", "-c", RECIPE, "--plugins=[left.py, right.py]")
    assert code == 2
    assert f"called TwinFiles: one is {here}/left.py, the other {here}/right.py: rename one" in errors
    install("twin_pkg", NORM.format(name="TwinInstalled"))
    Path("twin_file.py").write_text(NORM.format(name="TwinInstalled"))
    code, _, errors = run("plugins", "list", "--plugins=twin_file.py")
    assert code == 2
    assert f"called TwinInstalled: one is {here}/twin_file.py, the other twin_pkg 1.2 (twin_pkg)" in errors


def test_classes_that_no_plugin_brings_are_not_counted(run):
    from lmkit.layers import RMSNorm

    assert [type("CountedNorm", (RMSNorm,), {}) for _ in range(2)]
    Path("counted.py").write_text(NORM.format(name="CountedNorm"))
    assert run("plugins", "list", "norm", "--plugins=counted.py")[0] == 0


@pytest.fixture
def talking():
    """The name of a task that takes a chat template, known for one test."""

    class Talking(Pretraining):
        def __init__(self, network: Callable[[], Decoder], chat_template: ChatTemplate):
            super().__init__(network)

    yield Talking.__name__
    del Talking
    gc.collect()


@pytest.fixture(scope="module")
def parser():
    parser = Parser()
    parser.add_argument("-c", action=ActionConfigFile)
    parser.add_argument("--seed_everything", type=int, default=0)
    parser.add_argument("--plugins", type=list[str], default=[])
    parser.add_lightning_class_args(Task, "model", subclass_mode=True)
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    parser.add_lightning_class_args(Trainer, "trainer")
    return parser


def test_a_snippet_has_every_option():
    recipe = yaml.safe_load(snippet(MixtureOfExperts, "feed_forward"))
    layer = recipe["model"]["init_args"]["network"]["init_args"]["feed_forward"]
    assert [*layer["init_args"]] == [*inspect.signature(MixtureOfExperts).parameters][1:]
    assert (layer["init_args"]["hidden"], layer["init_args"]["router"]) == (None, "SoftmaxRouter")


@pytest.mark.parametrize(("kind", "cls"), BUILT_IN, ids=[f"{kind} {cls.__name__}" for kind, cls in BUILT_IN])
@pytest.mark.slow
def test_the_snippet_of_a_class_makes_a_recipe_with_it(parser, tmp_path, kind, cls):
    text = snippet(cls, kind)
    if text is None:
        assert cls.__name__ == "KeepRecipe"  # that no recipe can name
        return
    assert cls.__name__ in text
    (tmp_path / "file").write_text("{{ messages }}")
    text = text.replace("path: '...'", f"path: {tmp_path}/file")  # which some read as soon as they are made
    (tmp_path / "snippet.yaml").write_text(text)
    recipe = RECIPES / "t5-small.yaml" if reads_memory(cls) else RECIPE
    config = parser.parse([f"-c={recipe}", f"-c={tmp_path}/snippet.yaml"])
    if kind in ("data", "callback", "source", "filter"):
        parser.instantiate_classes(config)
        assert cls.__name__ in parser.dump(config)
        return
    if kind == "row_format":
        data = parser.instantiate_classes(config).data
        assert issubclass(cls.gives, data._preparation.maker.kind)
        return
    task = parser.instantiate_classes(config).model
    task.transforms += [LoRA()] if issubclass(cls, FourBits | AdaptersOff) else []  # without which they are refused
    task.rehearse(440)
    if issubclass(cls, torch.nn.Module) and kind != "task":
        with torch.device("meta"):
            network = task._network()
            parts = [network, task._multi_token(network)] if kind == "multi_token" else [network]
            assert any(type(module) is cls for part in parts for module in part.modules())


def test_show_tells_options_cost_and_use(run):
    code, out, errors = run("plugins", "show", "SelfAttention", "--dim=64", "--heads=4", "--context=32")
    assert code == 0, errors
    assert out.startswith("SelfAttention: attention, built-in, arXiv:1706.03762\n")
    assert "Given by what uses it: dim, heads\n" in out
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert rows["kv_heads"].split()[1:5] == ["int", "|", "None", "null"]
    assert "number of tokens a token sees" in rows["window"]
    assert rows["qk_norm"].split()[1:4] == ["Norm", "|", "None"]
    matrices, scores = 4 * 64 * 64, 2 * 32 * 64  # of a token, each a multiplication and an addition, three times
    assert f"{matrices:,} parameters, {6 * (matrices + scores):,} FLOPs" in out
    assert yaml.safe_load(out.partition("second -c:\n")[2])["model"]["init_args"]["network"]["init_args"]["attention"]


def test_show_counts_a_network(run):
    code, out, errors = run("plugins", "show", "Decoder", "--dim=64", "--heads=4", "--context=32")
    assert code == 0, errors
    matrices = 4 * 12 * 64**2 + 8256 * 64  # the embedding is the head
    norms, scores = 9 * 64, 4 * 2 * 32 * 64
    assert "context 32, depth 4, vocab_size 8256" in out
    assert f"{matrices + norms:,} parameters, {6 * (matrices + scores):,} FLOPs" in " ".join(out.split())


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("MLP", [f"{8 * 64**2:,} parameters, {48 * 64**2:,} FLOPs"]),
        ("LayerNorm", ["128 parameters, 0 FLOPs"]),
        ("CrossPreNorm", ["cross", "required", "CrossAttention", "FLOPs"]),
        ("Encoder", ["vocab_size", "required", "class_path: MaskedLanguageModel", "Block  ", "FLOPs"]),
        ("EncoderDecoder", ["parameters,", "FLOPs", "class_path: CrossPreNorm"]),
        ("Text", ["batch_size", "Sequences an optimizer step", "class_path: Text"]),
        ("Files", ["from where the command runs", "      source:\n        class_path: Files"]),
        ("Repetition", ["2112.11446", "      filters:\n      - class_path: Repetition", "(0.2, 0.18, 0.16)"]),
        ("AdamW", ["optimizer, torch", "lr: 0.001"]),
        ("MultiToken", ["multi_token, built-in, arXiv:2412.19437", "Given by what uses it: network", "  multi_token:"]),
        ("WarmupCosine", ["Given by what uses it: steps", "optimizer steps of the rise"]),
    ],
)
def test_show_knows_every_kind(run, name, parts):
    code, out, errors = run("plugins", "show", name, "--dim=64", "--heads=4", "--context=32")
    assert code == 0, errors
    assert "Options, with type and default" in out
    for part in parts:
        assert part in out, part


def test_show_writes_the_example_of_a_chat_template(run):
    code, out, errors = run("plugins", "show", "ChatML")
    assert code == 0, errors
    assert "\n  <|im_start|>assistant\n  Paris.<|im_end|>\n" in out
    assert "Trained, the assistant's: 'Paris.<|im_end|>'\n" in out
    assert "Special tokens: <|im_start|>, <|im_end|>\n  The assistant ends by: <|im_end|>\n" in out
    assert "template: ChatML" in out or "class_path: ChatML" in out
    code, out, errors = run("plugins", "show", "JinjaFile")
    assert code == 0, errors
    assert "Paris" not in out  # whose file is not known
    _, out, _ = run("plugins", "show", "Plain")
    assert "Special tokens: none of its own\n  The assistant ends by: eos_token\n" in out


def test_a_chat_template_that_new_wrote_is_shown(run, begun):
    name = begun[0]["chat_template"]
    code, out, errors = run("plugins", "show", name, f"--plugins=begun/{file_name(name)}")
    assert code == 0, errors
    assert "Trained, the assistant's: 'Paris.<|end|>'\n" in out


def test_a_recipe_names_a_chat_template_where_a_task_takes_one(talking):
    tree = yaml.safe_load(snippet(ChatML, "chat_template"))
    assert tree == {"model": {"class_path": talking, "init_args": {"chat_template": "ChatML"}}}
    tree = yaml.safe_load(snippet(JinjaFile, "chat_template"))
    assert tree["model"]["init_args"]["chat_template"]["init_args"]["path"] == "..."


def test_show_names_the_plugin_in_the_snippet_and_says_what_cannot_be_counted(run):
    text = NORM.format(name="ShownNorm") + "\n    def forward(self, x):\n        return x * float(x.sum())\n"
    Path("shown.py").write_text(text)
    code, out, _ = run("plugins", "show", "ShownNorm", "--plugins=shown.py")
    assert code == 0
    assert "512 parameters, FLOPs cannot be counted (" in out
    assert yaml.safe_load(out.partition("second -c:\n")[2])["plugins"] == ["shown.py"]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ValueError('not\\nthis width')", "ValueError: not this width"),
        ("AssertionError()", "AssertionError"),
        ("RuntimeError('out of luck')", "RuntimeError: out of luck"),
    ],
)
def test_show_says_what_a_constructor_raises(run, raised, said):
    name = f"Fallen{said.partition('Error')[0]}"
    text = f"\n    def __init__(self, dim: int) -> None:\n        raise {raised}\n"
    Path(f"{name}.py").write_text(NORM.format(name=name) + text)
    code, out, errors = run("plugins", "show", name, f"--plugins={name}.py")
    assert (code, errors) == (0, "")
    assert f"At dim 512, 8 heads, context 1024, it cannot be built: {said} ({name}.py:" in " ".join(out.split())
    assert f"norm: {name}" in out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["lst"], ["no sub-command lst", "list, show, new"]),
        (["list", "nrom"], ["no kind is called nrom: did you mean norm?"]),
        (["show", "RMSNrm"], ["no class is called RMSNrm", "did you mean RMSNorm (norm)"]),
        (["show", "my_norm.py"], ["my_norm.py is a file", "lmkit plugins show MyNorm --plugins=my_norm.py"]),
        (["show", "MLP", "--dim=0"], ["--dim is 0"]),
        (["show", "SelfAttention", "--heads=7"], ["heads must divide dim"]),
        (["show"], ["name must be given"]),
        (["new", "norm"], ["name must be given"]),
        (["new", "nrm", "MyNorm"], ["no kind is called nrm"]),
        (["new", "norm", "my-norm"], ["'my-norm'", "such as MyNorm"]),
        (["new", "norm", "3"], ["'3'", "such as MyNorm"]),
        (["new", "norm", "None"], ["such as MyNorm"]),
        (["new", "norm", "RMSNorm"], ["a Norm is called RMSNorm already (built-in)"]),
        (["new", "norm", "Tensor"], ["used for something else in the file", "MyTensor"]),
        (["new", "norm", "FreshNorm", "--out=norm.txt"], ["--out is norm.txt", "fresh_norm.py"]),
        (["new", "norm", "FreshNorm", "--out=there.py"], ["there.py is there already"]),
    ],
)
def test_a_mistake_gets_one_line(run, arguments, parts):
    Path("there.py").write_text("kept")
    code, _, errors = run("plugins", *arguments)
    assert code == 2
    assert len(errors.strip().splitlines()) == 1
    for part in parts:
        assert part in errors
    assert [path.name for path in Path().iterdir()] == ["there.py"]
    assert Path("there.py").read_text() == "kept"


def test_help_needs_no_torch(run):
    assert "lmkit plugins list norm" in run("plugins", "--help")[1]
    assert "plugins" in run("--help")[1]


@pytest.mark.parametrize(
    ("name", "file"),
    [("MyNorm", "my_norm.py"), ("RMSNorm2", "rms_norm2.py"), ("X", "x.py"), ("GELUTwo", "gelu_two.py")],
)
def test_a_file_is_called_like_its_class(name, file):
    assert file_name(name) == file


@pytest.fixture
def begun(run, tmp_path):
    """A file of each kind, as `new` writes it, and what it printed; named after the test's folder, to be found once."""
    number = "".join(filter(str.isalnum, tmp_path.name))[-12:].title()
    names = {kind: f"Begun{kind.title().replace('_', '')}{number}" for kind in KINDS}
    printed = {}
    for kind, name in names.items():
        code, printed[kind], errors = run("plugins", "new", kind, name, "--out=begun/")
        assert code == 0, errors
    return names, printed


@pytest.mark.slow
def test_what_new_writes_trains_at_once(run, begun, toy, texts):
    names, printed = begun
    for kind, name in names.items():
        assert f"lmkit plugins check begun/{file_name(name)}" in printed[kind]
        recipe = yaml.safe_load(printed[kind].partition("second -c:\n")[2].partition("\nNext:")[0])
        assert recipe["plugins"] == [f"begun/{file_name(name)}"]
        assert name in str(recipe)
        text = Path("begun", file_name(name)).read_text()
        assert text.startswith(f'"""{name}, a')
        assert not re.search(r"\bTemplate\b", text)
    options = [f"--model.network={names['network']}"]
    options += [f"--model.network.{kind}={names[kind]}" for kind in ("norm", "attention", "position", "block")]
    options += [f"--model.{kind}={names[kind]}" for kind in ("schedule", "optimizer")]
    options += [f"--model.transforms=[{names['transform']}]"]
    options += [f"--model.network.feed_forward={names['feed_forward']}", f"--trainer.callbacks={names['callback']}"]
    options += [f"--model.network.feed_forward.activation={names['activation']}", "--plugins=begun"]
    Path("all.txt").write_text("\n<|endoftext|>\n".join(p.read_text() for p in sorted(texts.iterdir())))
    options += [f"--data.source={names['source']}", "--data.source.path=all.txt", f"--data.filters=[{names['filter']}]"]
    sizes = [option for option in toy if not option.startswith("--data.source")]
    code, _, errors = run("fit", "-c", RECIPE, f"--model={names['task']}", *toy[:-1], *options, *sizes)
    assert code == 0, errors
    (metrics,) = Path("runs").rglob("metrics.csv")
    assert "train/weights" in metrics.read_text()


@pytest.mark.slow
def test_what_new_writes_passes_its_check(run, begun):
    names, _ = begun
    code, out, errors = run("plugins", "check", "begun")
    assert (code, errors) == (0, ""), out
    assert out.endswith(f"all {len(KINDS)} conform\n")
    assert all(f"{name}(" in out for name in names.values())


@pytest.mark.parametrize(("depth", "fed"), [(2, {}), (4, {3: 0}), (5, {4: 0, 3: 1})])
@pytest.mark.slow
def test_the_network_that_new_writes_feeds_late_blocks_from_early_ones(begun, depth, fed):
    names, _ = begun
    load_plugins(["begun"])
    cls = next(cls for cls in concrete(KINDS["network"].base) if cls.__name__ == names["network"])
    network = cls(50, 16, 24, depth, 4).double()
    tokens = torch.randint(50, (2, 16))
    x, ats = network.embed(tokens, torch.arange(16)[None])
    made = []
    for number, block in enumerate(network.blocks):
        made.append(block(x + made[fed[number]] if number in fed else x, ats[number]))
        x = made[-1]
    torch.testing.assert_close(network(tokens), network.norm(x))


@pytest.mark.slow
def test_the_data_that_new_writes_shows_other_tokens_in_training_only(begun, texts):
    names, _ = begun
    load_plugins(["begun"])
    cls = next(cls for cls in concrete(KINDS["data"].base) if cls.__name__ == names["data"])
    data = cls(source=str(texts), share=0.3)
    rows = torch.arange(40 * 64).view(40, 64)  # each token once: where it came from is told by it
    batch, seen = Batch(rows, rows, None), []
    for training, step in ((True, 0), (True, 0), (True, 1), (False, 0)):
        data.trainer = SimpleNamespace(training=training, global_step=step)
        seen.append(data.on_after_batch_transfer(batch, 0))
        assert torch.equal(seen[-1].targets, rows)
    inputs = [found.inputs for found in seen]
    assert torch.equal(inputs[0], inputs[1])
    assert not torch.equal(inputs[0], inputs[2])
    assert torch.equal(inputs[3], rows)
    assert (inputs[0] <= rows).all()
    assert (inputs[0] >= rows[:, :1]).all()
    changed = inputs[0] != rows
    assert 0.25 < changed[:, 1:].float().mean() < 0.31
    after = changed[:, 2:][changed[:, 1:-1]].float().mean()
    assert 0.23 < after < 0.35  # whatever became of the token before


def test_what_new_writes_keeps_the_rules_of_layers(begun):
    names, _ = begun
    load_plugins(["begun"])
    made = {
        kind: next(cls for cls in concrete(KINDS[kind].base) if cls.__name__ == names[kind])
        for kind in ("norm", "attention", "position", "block", "feed_forward")
    }
    torch.manual_seed(0)
    network = Decoder(50, 16, 24, 2, 4, **made).double().eval()
    with torch.device("meta"):
        late = Decoder(50, 16, 24, 2, 4, **made).double().eval()
    torch.manual_seed(0)
    initialize(late.float(), torch.device("cpu"))
    late.double()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, late.state_dict()[name], rtol=0, atol=0)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    tokens = torch.randint(50, (2, 16))
    whole = network(tokens)
    cache = network.cache()
    pieces = [network(piece, cache=cache) for piece in tokens.split((6, 1, 9), dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-10)
    documents = torch.tensor([[0] * 5 + [1] * 11] * 2)
    alone = [network(document) for document in tokens.split((5, 11), dim=1)]
    torch.testing.assert_close(network(tokens, documents), torch.cat(alone, dim=1), rtol=0, atol=1e-10)
    assert all(module.startswith("lmkit_plugins.") for module in {cls.__module__ for cls in made.values()})
    assert "lmkit.cli.plugins.templates.norm" not in sys.modules
