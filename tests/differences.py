"""`python -m pytest -p tests.differences -n 0 --differences FILE` writes how far off the tests of equality were.

Every tensor that a test hands to `torch.testing.assert_close` is measured on the way; whether it is close enough, the
test decides as ever.
"""

import os
from collections import defaultdict
from pathlib import Path

import torch

HEADER = """# Largest differences

Of each test of equality the largest absolute difference between two numbers that should be equal, over all its cases,
written by

```bash
python -m pytest tests/layers tests/network tests/peers -p tests.differences -n 0 --differences docs/differences.md
```

The references of `layers` and `network` are obvious computations in float64; where the name says so, and in `peers`,
they are modules of transformers 5.3 with the same random weights, some of which compute in float32 inside. Large ones
are of tests in bfloat16 or of harsh inputs, beside numbers that are large themselves.

| file | test | cases | largest difference |
|---|---|---|---|
"""


def pytest_addoption(parser):
    parser.addoption("--differences", metavar="FILE", help="write the largest difference that each test found")


def pytest_configure(config):
    if not config.getoption("--differences"):
        return
    config.differences = found = defaultdict(dict)
    plain = torch.testing.assert_close

    def measured(actual, expected, **options):
        file, _, case = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("::")
        worst = max(map(_difference, _tensors(actual), _tensors(expected)), default=0.0)
        known = found[file, case.partition("[")[0]]
        known[case] = max(known.get(case, 0.0), worst)
        plain(actual, expected, **options)

    torch.testing.assert_close = measured


def pytest_sessionfinish(session):
    if (target := session.config.getoption("--differences")) is None:
        return
    rows = [
        f"| {file.removeprefix('tests/')} | {test.removeprefix('test_').replace('_', ' ')} | {len(cases)} "
        f"| {max(cases.values()):.1e} |\n"
        for (file, test), cases in session.config.differences.items()
    ]
    Path(target).write_text(HEADER + "".join(rows))


def _tensors(value):
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in _tensors(part)]
    return [value] if isinstance(value, torch.Tensor) else []


def _difference(actual, expected):
    finite = actual.isfinite() & expected.isfinite()  # infinities are equal or the test fails
    return (actual - expected).abs()[finite].max().item() if finite.any() else 0.0
