"""Random weights, and which of ours are which of theirs."""

import torch
from torch import nn


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def copy(pairs):
    """Our parameters from theirs, given as (ours, theirs) or (ours, theirs, change)."""
    with torch.no_grad():
        for ours, theirs, *change in pairs:
            ours.copy_(change[0](theirs) if change else theirs)


def attention_pairs(ours, theirs):
    for mine, name in ((ours.q, "q_proj"), (ours.k, "k_proj"), (ours.v, "v_proj"), (ours.out, "o_proj")):
        yield mine.weight, getattr(theirs, name).weight
        if mine.bias is not None:
            yield mine.bias, getattr(theirs, name).bias


def gated_pairs(ours, theirs):
    for mine, name in ((ours.gate, "gate_proj"), (ours.up, "up_proj"), (ours.out, "down_proj")):
        yield mine.weight, getattr(theirs, name).weight
