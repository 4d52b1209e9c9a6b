"""Dot-bracket there and back, and what it refuses."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.structures.dot_bracket import (
    build_dot_bracket,
    parse_dot_bracket,
    read_structure,
    write_structure,
)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("....", []),
        ("((..))", [[0, 5], [1, 4]]),
        ("(([[.))]]", [[0, 6], [1, 5], [2, 8], [3, 7]]),
        ("({<[A.)}>]a", [[0, 6], [1, 7], [2, 8], [3, 9], [4, 10]]),
        ("(.)-_:,()", [[0, 2], [7, 8]]),
    ],
)
def test_pairs(text, pairs):
    assert parse_dot_bracket(text).tolist() == pairs
    assert parse_dot_bracket(text).shape == (len(pairs), 2)


@pytest.mark.parametrize("text", ["((..))", "(([[.))]]", "([{<A.)]}>a", "..", ""])
def test_written_as_read(text):
    assert build_dot_bracket(parse_dot_bracket(text), len(text)) == text


def test_any_matching_survives_the_way_there_and_back():
    generator = np.random.default_rng(0)
    for _ in range(30):
        position = generator.permutation(24)[:18].reshape(-1, 2)
        pairs = sorted(sorted(pair) for pair in position.tolist())
        assert parse_dot_bracket(build_dot_bracket(pairs, 24)).tolist() == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(()", r"'\(' at position 1 of 3 is never closed"),
        ("())", r"'\)' at position 3 of 3 closes nothing"),
        ("(]", r"'\]' at position 2 of 2 closes nothing"),
        ("(.?)", r"'\?' at position 3 of 4 is no dot-bracket mark"),
    ],
)
def test_errors_name_the_position(text, message):
    with pytest.raises(ValueError, match=message):
        parse_dot_bracket(text)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 9)], "does not fit"),
        ([(0, 4), (1, 4)], "shares a base"),
        ([(n, n + 40) for n in range(40)], "crosses pairs of all 30"),
    ],
)
def test_what_dot_bracket_cannot_say(pairs, message):
    with pytest.raises(ValueError, match=message):
        build_dot_bracket(pairs, 9 if "fit" in message else 80)


@pytest.mark.parametrize("crossing", [0, 1, 29, 30, 31, 250])
def test_a_structure_of_any_number_of_layers_is_written_and_read(crossing):
    pairs = np.array([(n, n + crossing) for n in range(crossing)], np.int64).reshape(-1, 2)
    text = write_structure(pairs, 2 * crossing + 3)
    assert text.startswith("pairs ") == (crossing > 30)
    assert np.array_equal(read_structure(text), pairs)


def test_other_faults_of_pairs_are_no_list():
    with pytest.raises(ValueError, match="shares a base"):
        write_structure(np.array([(0, 4), (1, 4)]), 9)
