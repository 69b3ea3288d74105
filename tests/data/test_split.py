import pytest

from lmkit.data.split import is_sampled, is_validation


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.5, 1.0])
def test_holds_out_about_the_fraction(fraction: float) -> None:
    held = sum(is_validation(f"document {n}", fraction) for n in range(10_000))
    assert held == pytest.approx(10_000 * fraction, abs=200)


def test_depends_on_the_content_alone() -> None:
    # A fixed answer: another hash would move documents between the sides of a corpus that is in use.
    assert "".join(str(int(is_validation(f"{n}", 0.5))) for n in range(16)) == "0011011110101010"


def test_a_larger_fraction_only_adds() -> None:
    texts = [f"{n}" for n in range(1000)]
    assert {t for t in texts if is_validation(t, 0.1)} < {t for t in texts if is_validation(t, 0.2)}


def test_the_sample_is_independent_of_the_split() -> None:
    both = sum(is_validation(f"{n}", 0.5) and is_sampled(f"{n}", 0.5) for n in range(4000))
    assert both == pytest.approx(1000, abs=120)
    assert all(is_sampled(f"{n}", 1.0) for n in range(100))
