"""From raw text to batches of token ids; `text.py` puts the other files together."""
