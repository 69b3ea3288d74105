import random
from collections import Counter
from pathlib import Path

import pytest

from lmkit.data.corpus import Document, Files, Filter, InvalidText, Length, Rejected, Repetition, reading
from lmkit.data.corpus.reading import Tally, read, tallies_of
from lmkit.data.corpus.repetition import _of_ngrams
from lmkit.errors import UserError

OPEN = Repetition(1, 1, 1, 1, (1, 1, 1), (1, 1, 1, 1, 1, 1))


def rejected(keep: Filter, text: str) -> str | None:
    """The reason, or none where the document stays as it is."""
    document = Document("it", text)
    found = keep(document)
    if isinstance(found, Rejected):
        return found.reason
    assert found == document
    return None


def test_lengths_are_in_bytes_and_bounds_stay() -> None:
    keep = Length(6, 9)
    assert [rejected(keep, "é" * n) for n in range(2, 6)] == ["less than 6 bytes", None, None, "more than 9 bytes"]
    assert rejected(Length(0), "") is None
    assert rejected(Length(2), "x" * 10**6) is None


@pytest.mark.parametrize("bounds", [(-1, None), (5, 4), (0, 0)])
def test_bounds_that_keep_nothing_are_refused(bounds: tuple[int, int | None]) -> None:
    with pytest.raises(UserError, match=f"min_bytes is {bounds[0]} and max_bytes {bounds[1]}"):
        Length(*bounds)


def reference(words: list[str]) -> dict[str, float]:
    """Each measure of n-grams, slow and obvious: the characters are marked one by one."""
    total, found = sum(map(len, words)), {}
    for n in range(2, 11):
        grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
        if not grams:
            break
        if n < 5:
            counts = Counter(grams)
            most = max(counts.values())
            longest = max((gram for gram in grams if counts[gram] == most), key=lambda gram: len("".join(gram)))
            starts = [start for start, gram in enumerate(grams) if gram == longest and most > 1]
            name = f"the most frequent {n}-gram"
        else:
            starts = [start for start, gram in enumerate(grams) if gram in grams[:start]]
            name = f"duplicate {n}-grams"
        within = {word for start in starts for word in range(start, start + n)}
        found[name] = sum(len(words[word]) for word in within) / total
    return found


@pytest.mark.parametrize("vocabulary", [1, 2, 5, 30])
def test_shares_of_ngrams_equal_the_obvious_ones(vocabulary: int) -> None:
    draw = random.Random(vocabulary)
    known = ["日本" * (n % 3) + "x" * (n % 4 + 1) + str(n) for n in range(vocabulary)]
    for length in [*range(1, 13), 40, 200]:
        words = draw.choices(known, k=length)
        shares = {name: share for name, share, _ in _of_ngrams(words, [0] * 3, [0] * 6)}
        assert shares == pytest.approx(reference(words), abs=1e-12)
        assert all(0 <= share <= 1 for share in shares.values())


def test_thresholds_are_those_of_table_a1() -> None:
    text = " ".join(str(n) for n in range(20))
    assert {name: most for name, _, most in Repetition()._measures(text)} == {
        "duplicate lines": 0.30,
        "characters in duplicate lines": 0.20,
        "duplicate paragraphs": 0.30,
        "characters in duplicate paragraphs": 0.20,
        "the most frequent 2-gram": 0.20,
        "the most frequent 3-gram": 0.18,
        "the most frequent 4-gram": 0.16,
        "duplicate 5-grams": 0.15,
        "duplicate 6-grams": 0.14,
        "duplicate 7-grams": 0.13,
        "duplicate 8-grams": 0.12,
        "duplicate 9-grams": 0.11,
        "duplicate 10-grams": 0.10,
    }


def measure(text: str, name: str) -> float:
    return next(share for found, share, _ in OPEN._measures(text) if found == name)


def test_lines_and_paragraphs() -> None:
    text = "aa\n\n  aa  \nbbbb\r\n\r\naa\n \nc\n\n\nc\n"
    assert measure(text, "duplicate lines") == 3 / 6  # aa aa bbbb aa c c
    assert measure(text, "characters in duplicate lines") == 5 / 12
    assert measure(text, "duplicate paragraphs") == 2 / 5  # aa, aa bbbb, aa, c, c
    joined = len("aa" + "aa  \nbbbb" + "aa" + "c" + "c")
    assert measure(text, "characters in duplicate paragraphs") == 3 / joined


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("one\ntwo\nthree\none\ntwo\n", "duplicate lines"),
        ("a\nb\nc\nlong line of words\nlong line of words", "characters in duplicate lines"),
        (
            "\n\n".join(["p", "p", "p", *("\n".join(f"{m}{n}" for n in range(20)) for m in "ab")]),
            "duplicate paragraphs",
        ),
        ("wo wo " + " ".join(map(str, range(9))), None),
        ("buy now buy now buy now " + " ".join(map(str, range(9))), "the most frequent 2-gram"),
        ("an ordinary sentence says each thing once and ends", None),
        ("", None),
        (" \n\n ", None),
        ("word", None),
    ],
)
def test_what_repeats_itself_is_rejected_by_its_first_measure(text: str, reason: str | None) -> None:
    assert rejected(Repetition(), text) == reason
    assert rejected(OPEN, text) is None


def test_a_share_at_the_threshold_stays_and_one_above_does_not() -> None:
    text = "a\nb\nc\nd\na"
    keep = Repetition(lines=0.2, line_characters=1, top_ngrams=(1, 1, 1), duplicate_ngrams=(1,) * 6)
    assert rejected(keep, text) is None
    assert rejected(Repetition(lines=0.199), text) == "duplicate lines"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_shares_that_are_none_are_refused(share: float) -> None:
    for keep in ({"lines": share}, {"top_ngrams": (0.1, share, 0.1)}):
        with pytest.raises(UserError, match="a share of Repetition is"):
            Repetition(**keep)  # type: ignore[arg-type]


class Halved(Filter):
    """Keeps the second half of a text, so that what one filter does is seen by the next."""

    def __call__(self, document: Document) -> Document | Rejected:
        return document._replace(text=document.text[len(document.text) // 2 :])


class Emptied(Filter):
    """Leaves nothing of texts that begin with an x."""

    def __call__(self, document: Document) -> Document | Rejected:
        return document._replace(text="") if document.text[0] == "x" else document


class Talkative(Filter):
    """Gives every document a reason of its own."""

    def __call__(self, document: Document) -> Document | Rejected:
        return Rejected(document.text) if document.text[0] != "k" else document


def written(folder: Path, texts: list[str]) -> Files:
    for number, text in enumerate(texts):
        (folder / f"{number:03}.txt").write_text(text)
    return Files(str(folder))


def test_filters_work_in_their_order_and_count_what_they_do(tmp_path: Path) -> None:
    source = written(tmp_path, ["", "ab", "éé12", "xxxx34", "axxx", "abcdefgh"])
    filters = [Length(3, 7), Halved(), Emptied()]
    tallies = tallies_of(filters)
    assert [d.text for d in read(source, filters, tallies=tallies)] == ["12"]
    assert [tally.name for tally in tallies] == ["Length", "Halved", "Emptied"]
    length, halved, emptied = (tally.plain() for tally in tallies)
    assert length["given"] == {"documents": 5, "bytes": 2 + 6 + 6 + 4 + 8}
    assert length["kept"] == halved["given"] == {"documents": 3, "bytes": 16}
    assert length["removed"] == {
        "less than 3 bytes": {"documents": 1, "bytes": 2},
        "more than 7 bytes": {"documents": 1, "bytes": 8},
    }
    assert (halved["changed"], halved["kept"], halved["removed"]) == (3, {"documents": 3, "bytes": 7}, {})
    assert emptied["removed"] == {"no text is left": {"documents": 2, "bytes": 5}}
    assert emptied["changed"] == 0
    assert str(tallies[0]) == (
        "Length removed 2 of 5 documents (0.00 of 0.00 MB): 1 for less than 3 bytes, 1 for more than 7 bytes"
    )
    assert str(tallies[1]) == "Halved removed 0 of 3 documents (0.00 of 0.00 MB); changed 3"
    assert [Tally.of(tally.plain()) for tally in tallies] == tallies


def test_reasons_that_differ_for_every_document_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_REASONS", 6)
    source = written(tmp_path, [f"reason {n}" for n in range(9)] + ["reason 8", "keep"])
    tallies = tallies_of([Talkative()])
    assert [d.text for d in read(source, [Talkative()], tallies=tallies)] == ["keep"]
    assert len(tallies[0].removed) == 7
    assert tallies[0].removed["other reasons"].documents == 4
    assert str(tallies[0]).endswith(
        "MB): 4 for other reasons, 1 for reason 0, 1 for reason 1, 1 for reason 2, 3 for less frequent reasons"
    )


def test_an_error_says_which_filters_left_nothing(tmp_path: Path) -> None:
    source = written(tmp_path, ["a", "bbb"])
    with pytest.raises(
        UserError, match=r"leave no document.*Length removed 1 of 2 .*; Talkative removed 1 of 1"
    ) as error:
        list(read(source, [Length(2), Halved(), Talkative()], InvalidText()))
    assert "Halved" not in str(error.value)
    assert "\n" not in str(error.value)
