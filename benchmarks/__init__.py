"""Measurements behind every claim of speed; each prints ratios taken within one run."""
