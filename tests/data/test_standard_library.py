import json
import re
import subprocess
import sys

import pytest

from lmkit.data.corpus import docstrings
from lmkit.data.corpus.document import Document
from lmkit.data.corpus.reading import read
from lmkit.data.corpus.sources import StandardLibrary


@pytest.fixture(scope="module")
def library() -> dict[str, str]:
    documents = list(read(StandardLibrary()))
    assert len({d.name for d in documents}) == len(documents)
    return {d.name: d.text for d in documents}


def test_holds_sources_docstrings_and_topics(library: dict[str, str]) -> None:
    assert library["json/decoder.py"] == open(json.decoder.__file__, newline="").read()  # noqa: SIM115, PTH123
    assert "Return the sine of x (measured in radians)." in library["math (docstrings)"]
    assert "BIT_AND" not in library["math (docstrings)"]
    assert "with" in library["pydoc_data.topics"]
    assert sum(map(len, library.values())) > 5e6


def test_holds_nothing_of_tests_packages_or_the_machine(library: dict[str, str]) -> None:
    for name in library:
        assert not re.search(r"(^|/)(test|tests|idle_test|site-packages|__pycache__)/|_sysconfigdata|^config-", name)
    assert "pydoc_data/topics.py" not in library
    compiled = [text for name, text in library.items() if name.endswith("(docstrings)")]
    assert len(compiled) > 30
    assert not any(re.search(r"at 0x[0-9a-f]{6}", text) for text in compiled)


def test_is_the_same_in_another_process(library: dict[str, str]) -> None:
    use = "from lmkit.data.corpus import *; found = [d for d in StandardLibrary().documents(InvalidText()) if d.text]"
    script = f"import json; {use}; print(json.dumps(found))"
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; sys.excepthook = print; {script}"]
    other = [Document(*pair) for pair in json.loads(subprocess.check_output(command, env={"PYTHONHASHSEED": "7"}))]
    assert [tuple(pair) for pair in other] == list(library.items())


def test_imports_nothing_here() -> None:
    use = "from lmkit.data.corpus import *; list(StandardLibrary().documents(InvalidText()))"
    code = f"import sys; sys.path[:0] = {sys.path!r}; {use}"
    loaded = subprocess.check_output([sys.executable, "-c", f"{code}; print(*sys.modules)"], text=True)
    assert not {"this", "antigravity", "_tkinter", "readline", "nis"} & set(loaded.split())


def test_docstrings_leave_out_data_and_addresses() -> None:
    text = docstrings.describe(__import__("posix"))
    assert "getpid()\nReturn the current process id." in text
    assert "environ" not in [entry.split("\n")[0] for entry in text.split("\n\n")]
