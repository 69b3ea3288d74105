"""On a CUDA device: the same numbers as on the CPU, in every precision that a recipe may name."""

import csv
from pathlib import Path

import pytest
import torch

from lmkit.layers import ALiBi, Rotary
from lmkit.network import Decoder
from tests.conftest import RECIPES

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("position", [Rotary, ALiBi])
def test_the_network_is_the_same_function(position):
    torch.manual_seed(0)
    network = Decoder(50, 64, 64, 2, 4, position=position).double()
    ids = torch.randint(50, (2, 64))
    documents = (ids == 0).cumsum(dim=1)
    with torch.no_grad():
        expected = network(ids, documents)
        got = network.cuda()(ids.cuda(), documents.cuda()).cpu()
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("precision", "tolerance"), [("32-true", 1e-3), ("bf16-mixed", 0.02), ("bf16-true", 0.05)])
def test_a_run_reaches_the_loss_that_it_reaches_on_the_cpu(run, toy, precision, tolerance):
    reached = {}
    for name, accelerator, chosen in (("cpu", "cpu", "32-true"), ("gpu", "gpu", precision)):
        options = [f"--name={name}", f"--trainer.accelerator={accelerator}", f"--trainer.precision={chosen}"]
        code, _, errors = run("fit", "-c", RECIPES / "gpt-small.yaml", *toy, *options, "--trainer.max_steps=8")
        assert code == 0, errors
        with Path(f"runs/{name}/version_0/metrics.csv").open() as file:
            reached[name] = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]][-1]
    assert reached["gpu"] == pytest.approx(reached["cpu"], rel=tolerance)
