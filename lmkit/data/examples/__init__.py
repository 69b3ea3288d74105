"""Encoded examples: made of rows by a `Maker`, kept in the cache, laid into rows of tokens."""
