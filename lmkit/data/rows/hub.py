"""Rows of data sets in Hugging Face's format: from the hub, or from a folder."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from lmkit.data.corpus.kinds import Item
from lmkit.data.rows.commits import commit_of
from lmkit.data.rows.kinds import Row, RowSource
from lmkit.data.rows.parquet_files import without_nulls
from lmkit.errors import UserError
from lmkit.extra import needed


class HubRows(RowSource):
    """A data set of the Hugging Face hub, which is streamed, or one in a folder, as `datasets` writes or reads it.

    Args:
        name: on the hub, as `trl-lib/Capybara`, or a folder: one that `save_to_disk` wrote, or one of data files.
        split: the part of the data set that is read.
        config: the configuration of a data set that has several.
    """

    def __init__(self, name: str, split: str = "train", config: str | None = None) -> None:
        if not name:
            raise UserError("the name of the data set is empty: give one of the hub, or a folder")
        self.name, self.split, self.config = name, split, config

    def rows(self) -> Iterator[Row]:
        """Yields the rows of the split, mappings in them without nulls."""
        datasets, number = needed("datasets", str(self), "datasets"), 0
        try:
            for values in self._opened(datasets):
                number += 1
                kept = {key: without_nulls(value) for key, value in values.items()}
                yield Row(kept, f"{self.name} ({self.split}), row {number}")
        except UserError:
            raise
        except Exception as error:  # of the network, of the hub, of whichever format its files have
            raise self._failed(error, f" after {number} rows" if number else "") from error

    def listing(self) -> list[Item]:
        """Of a folder name, size and time of each file; of a data set of the hub the commit that is read."""
        folder = Path(self.name).expanduser()
        if folder.is_dir():
            folder = folder / self.split if (folder / "dataset_dict.json").is_file() else folder
            files = [(path.relative_to(folder).as_posix(), path.stat()) for path in folder.rglob("*") if path.is_file()]
            if not files:
                raise UserError(
                    f"{self} has no files in {folder}: give the folder of a data set, and one of its splits"
                )
            return [Item(name, stat.st_size, stat.st_mtime_ns) for name, stat in sorted(files)]
        return [Item(self.name, 0, self._commit)]

    def __str__(self) -> str:
        return f"the data set {self.name}"

    @cached_property
    def _commit(self) -> str:
        """The commit on the hub: one, however often and in however many processes the rows are read."""
        hub = needed("huggingface_hub", str(self), "datasets")
        try:
            return commit_of(self.name, hub)
        except Exception as error:
            raise self._failed(error) from error

    def _opened(self, datasets: Any) -> Any:
        """What gives the rows of the split as mappings."""
        folder = Path(self.name).expanduser()
        if not is_saved(folder):
            where = {"path": str(folder)} if folder.is_dir() else {"path": self.name, "revision": self._commit}
            return datasets.load_dataset(**where, name=self.config, split=self.split, streaming=True)
        held = datasets.load_from_disk(str(folder))
        if self.config is not None:
            raise UserError(f"config is {self.config!r}, but {self}, which was saved to disk, has none: leave it out")
        splits = [*held] if isinstance(held, dict) else [str(held.split or self.split)]
        if self.split not in splits:
            raise UserError(f"{self} has no split {self.split}: give {' or '.join(splits)}")
        return held[self.split] if isinstance(held, dict) else held

    def _failed(self, error: Exception, when: str = "") -> UserError:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        said = said if len(said) <= 300 else f"{said[:299]}…"
        do = "give a name of the hub that can be reached from here, or the folder of a copy that save_to_disk wrote"
        return UserError(f"{self} ({self.split}) could not be loaded{when} ({said}): {do}")


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("state.json", "dataset_info.json")
    )
