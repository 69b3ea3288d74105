"""What a completion is among those of its prompt."""

CHOSEN, REJECTED = 0, 1
UNJUDGED = 3
"""One of which nothing is said, to be predicted."""
MISMATCHED = 2
"""The completion of another prompt, by which KTO estimates how far the model has moved."""
