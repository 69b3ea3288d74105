"""The precision of a run that names none."""

import logging

import pytest
import torch

from lmkit.cli import precision
from lmkit.cli.precision import CHOSEN, choose_precision


@pytest.mark.parametrize(("gain", "wanted"), [(1.4, "32-true"), (2.2, "bf16-mixed")])
def test_on_a_cpu_it_is_by_the_best_of_many_products_on_one_core(monkeypatch, caplog, gain, wanted):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv(CHOSEN, "")  # so that it is put back as it was, whatever is chosen here
    monkeypatch.delenv(CHOSEN)
    for name in precision.LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    threads, disturbed = torch.get_num_threads(), iter([0.1, 0.5, 1.0, 1.0] * 4)

    def measured(device, dtype, tries, size):
        assert torch.get_num_threads() == 1
        return next(disturbed) * (gain if dtype == torch.bfloat16 else 1)

    monkeypatch.setattr(precision, "measured_flops", measured)
    assert choose_precision("cpu") == wanted
    assert torch.get_num_threads() == threads
    assert f"{gain} times as fast as float32's on this cpu" in caplog.text
    monkeypatch.setattr(precision, "measured_flops", None)
    assert choose_precision("cpu") == wanted  # what was chosen is told to ranks
    monkeypatch.delenv(CHOSEN)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert choose_precision("cpu") == "32-true"
    monkeypatch.delenv(CHOSEN)
