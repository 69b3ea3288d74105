"""What a completion is among those of its prompt."""

CHOSEN, REJECTED = 0, 1
MISMATCHED = 2
"""The completion of another prompt, by which KTO estimates how far the model has moved."""
UNJUDGED = 3
"""A completion of which nothing is said, for `predict` alone: no loss knows it."""
