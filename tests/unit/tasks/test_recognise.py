import pytest

from tasks.recognise import Heard, Word, weigh

SAID = (Word(0.0, 0.5, " yes", 0.9),)


def heard(log_likelihood: float, *, words: tuple[Word, ...] = SAID, repeats: bool = False) -> Heard:
    return Heard(words, log_likelihood, 0.1, repeats)


def test_a_certain_guess_is_decoded_once() -> None:
    asked: list[str] = []

    def decode(language: str) -> Heard:
        asked.append(language)
        return heard(-5.0)

    assert weigh([("de", 0.97), ("en", 0.02)], decode)[:2] == ("de", 0.97)
    assert asked == ["de"]


def test_the_text_decides_between_two_likely_languages() -> None:
    """Noisy English, taken for Welsh by its sound: the English text is e^5 times likelier."""
    language, probability, found = weigh(
        [("cy", 0.74), ("en", 0.23), ("pl", 0.01)], lambda name: heard(-7.0 if name == "en" else -12.0)
    )
    assert language == "en"
    assert probability == pytest.approx(0.97 * 0.979, abs=0.01)
    assert found.log_likelihood == -7.0


def test_equal_texts_leave_the_guess_as_it_was() -> None:
    language, probability, _ = weigh([("cy", 0.6), ("en", 0.3)], lambda _: heard(-8.0))
    assert language == "cy"
    assert probability == pytest.approx(0.6)


def test_text_that_runs_in_circles_has_no_weight() -> None:
    language, probability, _ = weigh(
        [("cy", 0.5), ("en", 0.4)], lambda name: heard(-1.0, repeats=True) if name == "cy" else heard(-50.0)
    )
    assert (language, probability) == ("en", pytest.approx(0.9))


def test_without_any_word_the_guess_stands() -> None:
    assert weigh([("cy", 0.5), ("en", 0.4)], lambda _: heard(0.0, words=()))[:2] == ("cy", 0.5)


def test_an_unlikely_second_is_not_tried() -> None:
    def decode(language: str) -> Heard:
        assert language == "fr"
        return heard(-3.0)

    assert weigh([("fr", 0.8), ("en", 0.04)], decode)[:2] == ("fr", 0.8)
