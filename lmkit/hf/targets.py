"""Where a folder's tensors go: into new ones, or into a network, sharded or whole."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from lmkit.errors import UserError
from lmkit.network.fingerprint import digest_of


class Target(ABC):
    """Where a folder's tensors go."""

    @abstractmethod
    def begin(self, name: str, dtype: torch.dtype) -> Tensor:
        """What to copy one of our tensors into, all of it; `dtype` is that of the folder's."""

    def take(self, name: str, tensor: Tensor) -> bool:
        """Takes a tensor of the folder that is one of ours as it stands, or says that it is to be copied."""
        return False

    @abstractmethod
    def end(self, name: str, tensor: Tensor) -> None:
        """Takes what has been copied."""


class Collected(Target):
    """New tensors, of the dtypes of the folder.

    Args:
        shapes: tensors of these names and shapes, which may be on the meta device.

    Attributes:
        tensors: by name.
    """

    def __init__(self, shapes: Mapping[str, Tensor]) -> None:
        self._shapes = shapes
        self.tensors: dict[str, Tensor] = {}

    def take(self, name: str, tensor: Tensor) -> bool:
        """Keeps it as it is mapped from the disk."""
        self.tensors[name] = tensor
        return True

    def begin(self, name: str, dtype: torch.dtype) -> Tensor:
        """See `Target`."""
        return torch.empty(self._shapes[name].shape, dtype=dtype)

    def end(self, name: str, tensor: Tensor) -> None:
        """See `Target`."""
        self.tensors[name] = tensor


class Digests(Target):
    """What tells tensors apart, of the dtypes of the folder; none of them is kept.

    Args:
        shapes: tensors of these names and shapes, which may be on the meta device.

    Attributes:
        found: the digest of each, by name.
    """

    def __init__(self, shapes: Mapping[str, Tensor]) -> None:
        self._shapes = shapes
        self.found: dict[str, str] = {}

    def take(self, name: str, tensor: Tensor) -> bool:
        """Reads it where it is."""
        self.end(name, tensor)
        return True

    def begin(self, name: str, dtype: torch.dtype) -> Tensor:
        """See `Target`."""
        return torch.empty(self._shapes[name].shape, dtype=dtype)

    def end(self, name: str, tensor: Tensor) -> None:
        """See `Target`."""
        self.found[name] = digest_of(tensor)


class Placed(Target):
    """The tensors of a network, on their devices and in their dtypes; of one that is sharded each rank's own part.

    Args:
        tensors: of the network, by name.

    Raises:
        UserError: they have no memory.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        if empty := [name for name, tensor in tensors.items() if tensor.is_meta]:
            raise UserError(
                f"the network is on the meta device, so that its {empty[0]} can take no numbers: give it memory first, "
                "by network.to_empty(device='cpu')"
            )
        self._tensors = tensors

    def begin(self, name: str, dtype: torch.dtype) -> Tensor:
        """See `Target`."""
        own = self._tensors[name]
        return torch.empty(own.shape, dtype=dtype) if isinstance(own, DTensor) else own

    def end(self, name: str, tensor: Tensor) -> None:
        """See `Target`."""
        own = self._tensors[name]
        if isinstance(own, DTensor):  # every rank reads the files, so that nothing has to be sent
            tensor = tensor.to(own.device, own.dtype)
            own.copy_(distribute_tensor(tensor, own.device_mesh, own.placements, src_data_rank=None))
