"""Kernels: ways to compute one and the same attention, of which `attend` chooses."""
