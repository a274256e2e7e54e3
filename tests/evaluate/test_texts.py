import pytest
from jiwer import cer, wer
from sacrebleu import corpus_bleu

from npuopt.evaluate.texts import bleu, error_rate, exact, rouge

READ = ["the cat sat on the mat", "a dog", "hello world again and again", ""]
WANTED = ["the cat sits on the mat", "a dog barked", "hello world again and again", "gone"]


def test_error_rates_are_those_of_the_library_over_all_texts():
    assert error_rate(READ, WANTED, by="word").total == pytest.approx(wer(WANTED, READ))
    assert error_rate(READ, WANTED, by="character").total == pytest.approx(cer(WANTED, READ))


def test_an_empty_reference_counts_what_was_read():
    assert error_rate(["ab", "xyz"], ["", "xyz"], by="character").total == pytest.approx(2 / 3)


def test_bleu_is_the_corpus_score():
    assert bleu(READ, WANTED).total == pytest.approx(corpus_bleu(READ, [WANTED]).score)
    assert bleu(WANTED[:3], WANTED[:3]).total == pytest.approx(100)


def test_rouge_and_exact_match():
    assert rouge(WANTED, WANTED).total == 1.0
    assert 0.5 < rouge(READ, WANTED).total < 0.8
    assert exact(READ, WANTED).total == 0.25
