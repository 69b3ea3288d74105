"""Proof that an exported folder is the network that it came from."""
