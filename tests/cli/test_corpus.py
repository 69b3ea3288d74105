"""Sources and filters of the user's own, as a recipe and the command line name them."""

import csv
import re
from pathlib import Path

import pytest
import yaml

from tests.conftest import RECIPES

RECIPE = RECIPES / "gpt-small.yaml"
TRIAL = "--trainer.fast_dev_run=true"
SOURCE = '''
"""A source of a test."""
from pathlib import Path

from lmkit.data.corpus import Document, Item, Source


class {name}(Source):
    """Paragraphs of files.

    Args:
        path: of the folder.
        least: words that a paragraph needs.
    """

    def __init__(self, path: str, least: int = 0) -> None:
        self.path, self.least = path, least

    def documents(self, invalid):
        for file in sorted(Path(self.path).iterdir()):
            for number, line in enumerate(file.read_text().splitlines()):
                if len(line.split()) >= self.least:
                    yield Document(f"{{file.name}}:{{number}}", line)

    def listing(self):
        return [Item(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in Path(self.path).iterdir()]
'''
FILTER = '''
"""A filter of a test."""
from lmkit.data.corpus import Document, Filter, Rejected


class {name}(Filter):
    """Rejects documents that have a word.

    Args:
        word: it.
    """

    def __init__(self, word: str = "happy") -> None:
        self.word = word

    def __call__(self, document: Document) -> Document | Rejected:
        return Rejected(f"the word {{self.word}}") if self.word in document.text else document
'''


def told(lines: list[str]) -> tuple[str, list[str]]:
    """The cache folder that a run names, and the lines about filters, out of what was logged."""
    (at,) = (number for number, line in enumerate(lines) if line.startswith('data "'))
    folder = re.search(r"(?:cached|prepared) in (\S+) ", lines[at])
    assert folder
    return folder[1], [line for line in lines[at + 1 :] if re.match(r"  \w+ removed \d+ of \d+ documents", line)]


def losses(path: str) -> list[str]:
    """All losses that a run has logged."""
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row[name] for row in rows for name in ("train/loss", "val/loss") if row[name]]


@pytest.fixture
def own(run, toy, caplog):
    """Runs `fit` at toy size, without a source; gives the cache folder and the lines about filters."""

    def call(*options, plugins=(), recipes=(RECIPE,)):
        sizes = [option for option in toy if not option.startswith("--data.source")]
        named = [f"--plugins={list(map(str, plugins))}"] if plugins else []
        caplog.clear()
        code, _, errors = run("fit", *(f"--config={path}" for path in recipes), *sizes, *named, *options)
        assert code == 0, errors
        return told(caplog.messages)

    return call


@pytest.mark.slow
def test_a_source_and_a_filter_of_ones_own_train_and_run_again(own, run, texts, caplog):
    Path("own_source.py").write_text(SOURCE.format(name="OwnParagraphs"))
    Path("own_filter.py").write_text(FILTER.format(name="OwnWord"))
    tree = {
        "plugins": ["own_source.py", "own_filter.py"],
        "data": {
            "init_args": {
                "source": {"class_path": "OwnParagraphs", "init_args": {"path": str(texts)}},
                "filters": ["OwnWord", {"class_path": "Length", "init_args": {"min_bytes": 30}}, "Repetition"],
            }
        },
    }
    Path("own.yaml").write_text(yaml.safe_dump(tree))
    folder, lines = own(recipes=(RECIPE, "own.yaml"))
    assert [line.split()[0] for line in lines] == ["OwnWord", "Length", "Repetition"]
    removed, given = map(int, re.findall(r"\d+", lines[0])[:2])
    every = [line for file in texts.iterdir() for line in file.read_text().splitlines()]
    assert (removed, given) == (sum("happy" in line for line in every), len(every))
    assert lines[0].endswith(f"{removed} for the word happy")
    kept = yaml.safe_load(Path("runs/gpt-small/version_0/config.yaml").read_text())["data"]["init_args"]
    assert kept["source"]["init_args"] == {"path": str(texts), "least": 0}
    assert kept["filters"][0] == {"class_path": "lmkit_plugins.own_filter.OwnWord", "init_args": {"word": "happy"}}
    assert kept["filters"][2]["init_args"]["top_ngrams"] == [0.2, 0.18, 0.16]
    caplog.clear()
    code, _, errors = run("fit", "-c", "runs/gpt-small/version_0/config.yaml")
    assert code == 0, errors
    assert told(caplog.messages) == (folder, lines)
    first, second = (losses(f"runs/gpt-small/version_{n}/metrics.csv") for n in range(2))
    assert first == second
    assert len(first) == 3  # two steps and a validation


@pytest.mark.slow
def test_options_of_sources_and_filters_make_other_caches(own, texts):
    Path("opt_source.py").write_text(SOURCE.format(name="OptParagraphs"))
    Path("opt_filter.py").write_text(FILTER.format(name="OptWord"))
    common = [TRIAL, "--data.source=OptParagraphs", f"--data.source.path={texts}", "--data.filters+=OptWord"]
    folders = [
        own(*common, *options, plugins=("opt_source.py", "opt_filter.py"))[0]
        for options in ([], ["--data.filters.word=sad"], ["--data.source.least=3"])
    ]
    assert len(set(folders)) == 3


@pytest.mark.slow
def test_a_path_and_files_mean_the_same(own, texts):
    given = [f"--data.source={texts}", f"--data.validation_source={texts}"]
    spelt = [f"--data.{key}{more}" for key in ("source", "validation_source") for more in ("=Files", f".path={texts}")]
    assert own(*given, TRIAL)[0] == own(*spelt, TRIAL)[0]


FILES = {"class_path": "lmkit.data.corpus.Files", "init_args": {"path": "x"}}


@pytest.mark.parametrize(
    ("options", "source"),
    [(["=my_texts/"], "my_texts/"), (["=stdlib"], "stdlib"), (["=Files", ".path=x"], FILES)],
)
def test_the_printed_recipe_names_a_source_as_it_was_given(run, capsys, options, source):
    given = [f"--data.source{option}" for option in options]
    with pytest.raises(SystemExit) as leaving:
        run("fit", "-c", RECIPE, *given, "--print_config")
    assert leaving.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["source"] == source


def test_a_text_that_names_a_file_is_not_read_in_search_of_a_class(run, toy, texts, capsys):
    options = [f"--data.source={texts}/1.txt", f"--data.validation_source={texts}/2.txt"]
    with pytest.raises(SystemExit):
        run("fit", "-c", RECIPE, *toy, *options, "--print_config")
    data = yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]
    assert (data["source"], data["validation_source"]) == (f"{texts}/1.txt", f"{texts}/2.txt")
