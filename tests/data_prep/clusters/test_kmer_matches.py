import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from openrinalmo.data_prep.clusters import kmer_matches
from openrinalmo.data_prep.clusters.diagonal_strands import Pairs, settle_strands
from openrinalmo.data_prep.clusters.kmer_matches import find_forward_members, settle_matches
from openrinalmo.data_prep.clusters.sequence_file import SequenceFile
from support.sequences import draw_sequence, mutate

COMPLEMENT = str.maketrans("ACGUTRYKMSWBDHVN", "UGCAACGCGCACCGCN")  # of the bases in BASES
BASES = str.maketrans("URYKMSWBDHV", "TGCGCGTGGCG")


def reverse_complement(sequence):
    return sequence.translate(COMPLEMENT)[::-1]


def draw_hairpin(rng, arm_nt):
    """A sequence that is nearly its own reverse complement, place by place."""
    arm = draw_sequence(rng, arm_nt)
    return mutate(rng, arm + reverse_complement(arm), identity=rng.uniform(0.94, 1))


def count_equal(head, member, diagonal):
    """Count by hand: the bases as MMseqs2 takes them, N like nothing."""
    pairs = (
        (head[place], member[place - diagonal])
        for place in range(len(head))
        if 0 <= place - diagonal < len(member)
    )
    return sum(a.translate(BASES) == b.translate(BASES) and a != "N" for a, b in pairs if b != "N")


def find_runs(head, member, diagonal, k):
    """Whether k bases in a row are equal on the diagonal."""
    run = longest = 0
    for place in range(len(head)):
        inside = 0 <= place - diagonal < len(member)
        run = run + 1 if inside and count_equal(head[place], member[place - diagonal], 0) else 0
        longest = max(longest, run)
    return longest >= k


def draw_pairs(rng, count):
    """Sequences, and pairs of them: hairpins and strangers, some letters ambiguous."""
    sequences = []
    for _ in range(count):
        head = draw_hairpin(rng, rng.randint(12, 40)) if rng.random() < 0.7 else ""
        head = head or draw_sequence(rng, rng.randint(25, 80))
        member = mutate(rng, head, identity=rng.uniform(0.9, 1))
        if rng.random() < 0.3:
            member = reverse_complement(member)
        if rng.random() < 0.2:
            place = rng.randrange(len(member))
            member = member[:place] + rng.choice("RYKMSWBDHVN") + member[place + 1 :]
        cut = rng.randint(0, 6)
        sequences += [head, member[cut:]] if rng.random() < 0.5 else [head[cut:], member]
    return sequences


def write(tmp_path, sequences, name="in.fasta"):
    return SequenceFile(tmp_path / name, (sequence.encode() for sequence in sequences))


def settle(file, heads, members, diagonals, is_reverse, k):
    pairs = Pairs(heads=heads, members=members, diagonals=diagonals, is_reverse=is_reverse)
    with ThreadPoolExecutor(2) as pool:
        return settle_strands(file, pairs, np.zeros(len(file), bool), k, pool)[0]


@pytest.mark.parametrize("k", [8, 11, 12, 17])
def test_where_both_strands_match_the_nearer_is_taken_whatever_was_named(tmp_path, k):
    rng = random.Random(k)
    sequences = draw_pairs(rng, 200)
    file = write(tmp_path, sequences)
    is_plain = [set(sequence) <= set("ACGU") for sequence in sequences]
    checked = {"both": 0, "named": 0}
    heads = np.repeat(np.arange(0, len(sequences), 2), 13)
    diagonals = np.tile(np.arange(-6, 7), len(sequences) // 2)
    everything = [
        settle(file, heads, heads + 1, diagonals, np.full(len(heads), named), k)
        for named in (False, True)
    ]
    for row, (head, diagonal) in enumerate(zip(heads, diagonals, strict=True)):
        one, other = sequences[head], sequences[head + 1]
        turned = reverse_complement(one)
        forward, reverse = (count_equal(s, other, diagonal) for s in (one, turned))
        both = find_runs(one, other, diagonal, k) and find_runs(turned, other, diagonal, k)
        given = [settled[row] for settled in everything]
        if both and is_plain[head] and is_plain[head + 1]:
            assert given == [reverse > forward] * 2
            checked["both"] += 1
        elif given != [reverse > forward] * 2:
            # Left as named where chance cannot have named it: one strand holds no k-mer there.
            assert given in ([False, True], [False, reverse > forward], [reverse > forward, True])
            checked["named"] += 1
    assert checked["both"] > 30
    assert checked["named"] > 30


def write_matches(path, entries):
    """Write kmermatcher's format: of each head, lines of itself and of its members."""
    data, index = b"", ""
    for head, rows in entries:
        lines = f"{head}\t0\t0\n" + "".join("\t".join(map(str, row)) + "\n" for row in rows)
        index += f"{head}\t{len(data)}\t{len(lines) + 1}\n"
        data += lines.encode() + b"\0"
    path.write_bytes(data)
    path.with_name(f"{path.name}.index").write_text(index)
    path.with_name(f"{path.name}.dbtype").write_bytes(b"\7\0\0\0")


def read_matches(path):
    data, found = path.read_bytes(), []
    for line in path.with_name(f"{path.name}.index").read_text().splitlines():
        head, start, size = map(int, line.split("\t"))
        entry = data[start : start + size]
        assert entry.endswith(b"\n\0")
        assert entry.count(b"\0") == 1
        rows = [tuple(map(int, row.split(b"\t"))) for row in entry[:-1].splitlines()]
        assert rows[0] == (head, 0, 0)
        found.append((head, rows[1:]))
    return found


def test_results_that_chance_signed_become_one(tmp_path):
    rng = random.Random(1)
    sequences = draw_pairs(rng, 400)
    sequences[6] = sequences[7] = "ACGURYKMSWBDHVNNN" * 3  # letters that stand for other bases
    file = write(tmp_path, sequences)
    drawn = []
    for head in range(0, len(sequences) - 20, 2):
        members = sorted(rng.sample(range(head + 2, len(sequences)), rng.randint(0, 3)))
        rows = [(member, rng.randint(1, 300), rng.randint(-9, 9)) for member in members]
        drawn.append((head, [(head + 1, rng.choice([1, 9, 10, 688]), 0), *rows]))
    drawn += [(single, []) for single in range(1, len(sequences), 2)]
    results, forward, in_doubt = [], [], set()
    for run in range(3):
        signed = []
        for head, rows in drawn:
            some = []
            for member, score, diagonal in rows:
                one, other = sequences[head], sequences[member]
                turned = reverse_complement(one)
                runs = [find_runs(s, other, diagonal, 17) for s in (one, turned)]
                sign = rng.choice([1, -1]) if all(runs) else (-1 if runs[1] else 1)
                in_doubt |= {(head, member)} if all(runs) else set()
                some.append((member, score * sign, diagonal))
            signed.append((head, some))
        write_matches(tmp_path / f"in{run}", signed)
        doubtful = settle_matches(
            file,
            tmp_path / f"in{run}",
            tmp_path / f"out{run}",
            tmp_path / f"forward{run}",
            17,
            threads=run + 1,
        )
        assert 50 < doubtful < 400
        results.append((tmp_path / f"out{run}").read_bytes())
        forward.append((tmp_path / f"forward{run}").read_bytes())
    assert (tmp_path / "in0").read_bytes() != (tmp_path / "in1").read_bytes()
    assert results[0] == results[1] == results[2]
    assert (tmp_path / "out0.dbtype").read_bytes() == b"\7\0\0\0"
    unsigned = [
        (head, [(m, abs(score), d) for m, score, d in rows])
        for head, rows in read_matches(tmp_path / "out0")
    ]
    assert unsigned == drawn
    assert forward[0] == forward[1] == forward[2]
    named = {
        (head, m)
        for head, rows in read_matches(tmp_path / "out0")
        for m, score, _ in rows
        if score > 0
    }
    sure = set(map(tuple, np.frombuffer(forward[0], np.int32).reshape(-1, 2).tolist()))
    assert sure <= named - in_doubt
    assert len(sure) > 0.8 * len(named - in_doubt)


def test_members_that_match_forward_by_a_pair_either_way(tmp_path, monkeypatch):
    monkeypatch.setattr(kmer_matches, "_CHUNK_PAIRS", 3)
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 40, (60, 2), dtype=np.int32)
    pairs.tofile(tmp_path / "forward")
    representatives = rng.integers(0, 8, 40)
    representatives[:8] = np.arange(8)
    known = {(int(a), int(b)) for a, b in pairs} | {(int(b), int(a)) for a, b in pairs}
    expected = [(head, n) in known for n, head in enumerate(representatives.tolist())]
    found = find_forward_members(tmp_path / "forward", representatives)
    assert found.tolist() == expected
    assert 0 < sum(expected) < 40


def test_a_single_short_sequence(tmp_path):
    file = write(tmp_path, ["A"])
    write_matches(tmp_path / "in", [(0, [])])
    assert settle_matches(file, tmp_path / "in", tmp_path / "out", tmp_path / "forward", 17) == 0
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


def test_an_index_with_gaps_is_refused(tmp_path):
    file = write(tmp_path, ["ACGU", "ACGU"])
    write_matches(tmp_path / "in", [(0, []), (1, [])])
    (tmp_path / "in.index").write_text("1\t7\t7\n0\t0\t7\n")
    with pytest.raises(AssertionError, match="gaps"):
        settle_matches(file, tmp_path / "in", tmp_path / "out", tmp_path / "forward", 17)
