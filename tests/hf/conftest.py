"""Tiny peers, each made once."""

import pytest
import transformers

from tests.hf.peers import made


@pytest.fixture(scope="session")
def peer(tmp_path_factory):
    """One of `PEERS` by its name, in a folder that tests read and leave as it is."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    kept = {}

    def by_name(name):
        if name not in kept:
            kept[name] = made(name, tmp_path_factory.mktemp("peer"))
        return kept[name]

    return by_name
