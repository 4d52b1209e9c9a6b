import numpy as np
import pytest

from openrinalmo.data_prep.clusters.kmer_passes import choose_table_limit


def count_table_bytes(lengths):
    """By hand: 16 bytes for each 17-mer, of which 21 and a fifth of the letters are taken."""
    return sum(16 * min(max(1, int(n) - 15), 21 + n // 5) for n in lengths)


def test_one_pass_where_the_table_fits():
    lengths = np.full(10_000, 300, np.int32)
    table = count_table_bytes(lengths)
    assert choose_table_limit(lengths, 0, 21, "1G") == "1G"
    assert choose_table_limit(lengths, 0, 21, "0") == "0"
    assert choose_table_limit(lengths, 0, 21, f"{table}B") != f"{table}B"


@pytest.mark.parametrize(("share", "passes"), [(0.9, 4), (0.3, 4), (0.2, 8), (0.1, 16)])
def test_passes_are_four_or_as_many_doublings_as_memory_asks_for(share, passes):
    lengths = np.full(100_000, 250, np.int32)
    lengths[7] = 8_000
    table, kept = count_table_bytes(lengths), 32 * len(lengths)
    limit = int(choose_table_limit(lengths, 0, 21, f"{int(share * table) + kept}B")[:-1])
    assert table / (limit - kept) == pytest.approx(passes, rel=1e-4)


def test_a_little_less_memory_changes_no_pass():
    lengths = np.full(1_000_000, 500, np.int32)
    chosen = {choose_table_limit(lengths, 0, 21, f"{limit}M") for limit in range(1100, 1500, 10)}
    assert len(chosen) == 1
