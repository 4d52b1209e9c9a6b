"""How alike two RNAs are: edit distance with free ends, in a machine word as long as the RNA.

Myers (1999) keeps a column of the alignment's table as two bit vectors; Python's integers are as
long as needed, so that 1,500 nt against 1,500 nt take about 2 ms.
"""

from ..dedup import COMPLEMENTS


def find_identity(first: bytes, second: bytes) -> float:
    """Return the share of the shorter one's letters that match where it lies best in the longer.

    1 less the edit distance over its length: 1.0 for a part of the other. What the longer one has
    before and after costs nothing.
    """
    shorter, longer = sorted((first, second), key=len)
    if not shorter:
        raise ValueError("an empty sequence has no identity with another")
    return 1 - compute_infix_distance(shorter, longer) / len(shorter)


def reverse_complement(sequence: bytes) -> bytes:
    """Return the other strand's sequence; IUPAC codes turn into those of the complements."""
    return sequence.translate(COMPLEMENTS)[::-1]


def compute_infix_distance(pattern: bytes, text: bytes) -> int:
    """Return the fewest edits that turn the pattern into some part of the text."""
    size = len(pattern)
    everywhere, last = (1 << size) - 1, 1 << (size - 1)
    places = dict.fromkeys(set(text), 0)
    for place, letter in enumerate(pattern):
        places[letter] = places.get(letter, 0) | 1 << place
    grows, shrinks = everywhere, 0  # where the column's next number is one more, or one less
    distance = best = size
    for letter in text:
        here = places[letter]
        is_vertical = here | shrinks
        is_diagonal = (((here & grows) + grows) ^ grows) | here
        right_grows = shrinks | ~(is_diagonal | grows) & everywhere
        right_shrinks = grows & is_diagonal
        distance += bool(right_grows & last) - bool(right_shrinks & last)
        best = min(best, distance)
        right_grows, right_shrinks = right_grows << 1 & everywhere, right_shrinks << 1 & everywhere
        grows = (right_shrinks | ~(is_vertical | right_grows)) & everywhere
        shrinks = right_grows & is_vertical
    return best
