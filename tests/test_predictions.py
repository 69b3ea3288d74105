"""The file of `lmkit predict`."""

import json
from types import SimpleNamespace

import pytest

from lmkit.callbacks import Predictions
from lmkit.errors import UserError


def test_lines_are_json_of_numbers_in_the_order_of_the_rows(tmp_path, capsys):
    written = Predictions(tmp_path / "predictions.jsonl")
    trainer = SimpleNamespace(world_size=1, precision="16-true", datamodule=None)
    found = [{"row": 1, "loss": float("nan")}, {"row": 0, "loss": 0.1 + 0.2, "each": (1.0, -float("inf")), "text": "ä"}]
    task = SimpleNamespace(predictions=lambda outputs, batch, number: iter([outputs]))
    written.on_predict_start(trainer, task)
    for number, outputs in enumerate(found):
        written.on_predict_batch_end(trainer, task, outputs, None, number)
    written.on_predict_end(trainer, task)
    lines = [json.loads(line) for line in written.path.read_text(encoding="utf-8").splitlines()]
    assert lines == [
        {"row": "row 1", "loss": 0.1 + 0.2, "each": [1.0, None], "text": "ä"},
        {"row": "row 2", "loss": None},
    ]
    assert "2 of them have null where 16-true gave no number" in capsys.readouterr().out
    assert [*tmp_path.iterdir()] == [written.path]


def test_several_ranks_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"runs on 2 ranks: set trainer\.devices to 1"):
        Predictions(tmp_path / "predictions.jsonl").on_predict_start(SimpleNamespace(world_size=2), None)
