"""Tokenizer, chat template and generation settings of Hugging Face folders."""
