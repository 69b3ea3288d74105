"""Readers: a source of raw text as a stream of documents."""
