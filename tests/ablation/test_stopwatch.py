"""The clock of comparisons at equal time."""

import json
from types import SimpleNamespace

import pytest
import torch

from lmkit.callbacks import Stopwatch, stopwatch


@pytest.mark.parametrize("parts", [1, 4])
def test_it_measures_whole_steps_after_the_first_ones(tmp_path, monkeypatch, parts):
    """Steps take 10 seconds until the third, then 2."""
    watch = Stopwatch(str(tmp_path / "time.json"), skipped=3, steps=2, seconds=7.0)
    trainer, task = SimpleNamespace(global_step=0, should_stop=False), SimpleNamespace(device=torch.device("cpu"))
    now = 0.0
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now)
    for batch in range(100):
        trainer.global_step = (batch + 1) // parts
        now += (10.0 if batch < 3 * parts else 2.0) / parts
        watch.on_train_batch_end(trainer, task, None, None, batch)
        if trainer.should_stop:
            break
    assert trainer.global_step == 7  # four steps of 2 seconds are the first that take 7
    assert json.loads((tmp_path / "time.json").read_text()) == {"seconds_per_step": pytest.approx(2.0)}
