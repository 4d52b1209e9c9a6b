import pytest
import torch

from openrinalmo.model import alphabet


def test_the_published_order_of_ids():
    assert alphabet.VOCAB_SIZE == 22
    assert alphabet.encode("ACGTIRYKMSWBDHVN-").tolist() == [0, *range(5, 22), 2]


def test_u_and_t_and_either_case_are_one():
    assert alphabet.encode("acguACGT").tolist() == [0, 5, 6, 7, 8, 5, 6, 7, 8, 2]
    assert alphabet.encode("ACGU").dtype == torch.uint8


def test_an_unknown_letter_is_unk_or_refused_with_its_position():
    assert alphabet.encode("AX*é").tolist() == [0, 5, 3, 3, 3, 2]
    with pytest.raises(ValueError, match="letter 'X' at position 2 of 3"):
        alphabet.encode("AXC", strict=True)


def test_decode_gives_the_rna_back():
    assert alphabet.decode(alphabet.encode("ACGTNRU")) == "ACGUNRU"


def test_masking_never_selects_specials_or_gaps_nor_draws_anything_but_nucleotides():
    assert {alphabet.TOKENS[i] for i in alphabet.MASKABLE} == set("ACGTIRYKMSWBDHVN")
    assert {alphabet.TOKENS[i] for i in alphabet.NUCLEOTIDES} == set("ACGT")
