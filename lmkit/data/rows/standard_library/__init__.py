"""Questions and answers made of the documentation of Python's standard library, so that nothing is downloaded."""
