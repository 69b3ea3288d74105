"""AdaNorm as a plugin of lmkit: importing this package makes the class name known."""

from lmkit_ada_norm.ada_norm import AdaNorm

__all__ = ["AdaNorm"]
