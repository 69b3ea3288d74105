"""Hugging Face both ways: a folder in, a folder out."""
