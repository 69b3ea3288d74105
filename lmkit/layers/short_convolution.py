"""The short convolution that recurrent layers read through (H3, Fu et al. 2022, arXiv:2212.14052; Mamba)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmkit.errors import UserError


class ShortConvolution(nn.Module):
    """Each channel becomes a learned sum of its last few values: a causal depthwise convolution without offset.

    It is a sum of shifted products, so that a shift that leaves the document can be left out of it.

    Args:
        channels: width of what is read.
        width: tokens that are summed, the present one included.
    """

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        if width < 1:
            raise UserError(f"conv_width is a number of tokens from 1 on, but it is {width}: 4 is usual")
        self.weight = nn.Parameter(torch.empty(channels, 1, width))  # as `nn.Conv1d` has it; the last is the present's
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in plus or minus the root of 1 / width, as those of `nn.Conv1d`."""
        bound = self.weight.size(-1) ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, past: Tensor | None = None, documents: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, T, channels) to the same, and the past for the tokens to come.

        Args:
            x: the tokens.
            past: the width - 1 tokens before them (B, width - 1, channels); none if there are none.
            documents: the document of each token (B, T), the past's being that of the first; none if a row is one.
        """
        taps = self.weight[:, 0].to(x.dtype).unbind(-1)
        time, before = x.size(1), len(taps) - 1
        seen = F.pad(x, (0, 0, before, 0)) if past is None else torch.cat([past, x], dim=1)
        y = x * taps[before]
        for start in range(before):
            earlier = seen[:, start : start + time]
            if documents is not None:
                earlier = earlier * same_document(documents, before - start)
            y = torch.addcmul(y, earlier, taps[start])
        return y, seen[:, time:]


def same_document(documents: Tensor, shift: int) -> Tensor:
    """Whether the token `shift` before each is of its document (B, T, 1); what lies before a row is of its first's."""
    earlier = torch.cat([documents[:, :1].expand(-1, shift), documents], dim=1)[:, : documents.size(1)]
    return (earlier == documents).unsqueeze(-1)
