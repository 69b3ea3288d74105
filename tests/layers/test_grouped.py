"""The grouped product, of which a process may have several copies: lmkit's, and those of models it has exported."""

import importlib.util
import sys

import torch

from lmkit.layers.kernels import grouped


def test_a_second_copy_of_the_file_leaves_the_first_ones_operators_alone(monkeypatch):
    name = "a-copy.of.grouped"
    spec = importlib.util.spec_from_file_location(name, grouped.__file__)
    copy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, copy)
    spec.loader.exec_module(copy)
    assert copy.SPACE == "a_copy_of_grouped"
    assert copy.grouped_product._opoverload is not grouped.grouped_product._opoverload
    x, matrices, ends = torch.randn(5, 4), torch.randn(2, 3, 4), torch.tensor([2, 5], dtype=torch.int32)
    expected = torch.cat([x[:2] @ matrices[0].T, x[2:] @ matrices[1].T])
    for module in (grouped, copy, grouped):
        assert getattr(torch.ops, module.SPACE).grouped_product.default is module.grouped_product._opoverload
        torch.testing.assert_close(module.grouped_product(x, matrices, ends), expected)
