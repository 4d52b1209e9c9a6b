"""One-hot rows, and the programs that fold, where they are and where they are not installed."""

import io
import sys

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.baselines import (
    FOLDER_SYSTEMS,
    encode_one_hot,
    find_folder,
    find_viennarna,
)
from openrinalmo.pipeline.downstream.structures.dot_bracket import parse_dot_bracket

MODULES = {
    "viennarna": "RNA",
    "linearpartition": "linearpartition",
    "eternafold": "linearpartition",
    "squarna": "SQUARNA",
    "squarna-fast": "SQUARNA",
}
TRNA = "GCGGAUUUAGCUCAGUUGGGAGAGCGCCAGACUGAAGAUCUGGAGGUCCUGUGUUCGAUCCACAGAAUUCGCACCA"


@pytest.fixture(params=MODULES)
def folder(request):
    pytest.importorskip(
        MODULES[request.param], reason="a baseline of the extras that is not installed"
    )
    found = find_folder(request.param)
    assert found is not None
    return found


def test_one_hot():
    rows = encode_one_hot(["GA", "UTNC"])
    expected = [[0, 0, 1, 0], [1, 0, 0, 0], *[[0, 0, 0, 1]] * 2, [0] * 4, [0, 1, 0, 0]]
    np.testing.assert_array_equal(rows, np.array(expected, np.float32))
    assert rows.dtype == np.float32


def test_a_hairpin(folder):
    pairs = folder.fold("GGGGCAAAAGCCCC")
    assert pairs.tolist() == [[n, 13 - n] for n in range(5)]
    assert pairs.dtype == np.int64
    assert any(character.isdigit() for character in folder.version)


def test_dna_lower_case_and_ambiguous_letters(folder):
    rna = "GGGAUCCAAAAGGAUCCC"
    pairs = folder.fold(rna).tolist()
    assert pairs == [[n, 17 - n] for n in range(7)]
    assert folder.fold(rna.replace("U", "T")).tolist() == pairs
    assert folder.fold(rna.lower()).tolist() == pairs
    for letter in "NRIXK-.&;~*":  # gaps and separators of chains mean something to some programs
        assert folder.fold(rna[:5] + letter + rna[6:]).tolist() == (
            folder.fold(rna[:5] + "N" + rna[6:]).tolist()
        )
    paired = {base for pair in folder.fold("GGGAUNCAAAAGNAUCCC").tolist() for base in pair}
    assert paired
    assert not paired & {5, 12}


@pytest.mark.parametrize("sequence", ["", *("ACAACAACAA"[:n] for n in range(1, 11)), "N" * 60])
def test_too_short_or_nothing_to_pair(folder, sequence):
    pairs = folder.fold(sequence)
    assert pairs.shape == (0, 2)
    assert pairs.dtype == np.int64


def test_order_of_calls_changes_nothing():
    """LinearPartition keeps tables of both parameter sets in one process."""
    folders = [
        folder
        for system, module in MODULES.items()
        if _is_installed(module) and (folder := find_folder(system))
    ]
    if not folders:
        pytest.skip("a baseline of the extras that is not installed")
    first = [folder.fold(TRNA).tolist() for folder in folders]
    for folder in folders:
        folder.fold("GGGAUCCAAAAGGAUCCC")
    again = [folder.fold(TRNA).tolist() for folder in reversed(folders)]
    assert again == first[::-1]
    assert all(i < j for pairs in first for i, j in pairs)
    assert all(len({base for pair in pairs for base in pair}) == 2 * len(pairs) for pairs in first)


def test_viennarna_equals_its_own_fold_compound():
    viennarna = pytest.importorskip("RNA", reason="a baseline of the extras that is not installed")
    folder = find_folder("viennarna")
    assert folder is not None
    structure, _ = viennarna.fold_compound(TRNA).mfe()
    opening = [i for i, mark in enumerate(structure) if mark == "("]
    assert folder.fold(TRNA)[:, 0].tolist() == opening
    assert folder.fold(TRNA).tolist() == parse_dot_bracket(viennarna.fold(TRNA)[0]).tolist()
    assert find_viennarna() is viennarna


@pytest.mark.parametrize(
    "sequence", [TRNA[:40], "GGGGGAAACCCCC", "GGGGCUCUAACCCCAAAAAGAGCAAAA", "ACGUACGU"]
)
@pytest.mark.parametrize(
    ("system", "settings"),
    [("squarna", {}), ("squarna-fast", {"configfile": "fastest", "poollim": 1})],
)
def test_squarna_equals_its_own_entry(system, settings, sequence):
    """The entry starts processes; in between lie the choice of settings and the ranking."""
    entry = pytest.importorskip("SQUARNA", reason="a baseline of the extras that is not installed")
    folder = find_folder(system)
    assert folder is not None
    written = io.StringIO()
    entry.Predict(inputseq=sequence, threads=1, write_to=written, **settings)
    dot_bracket = written.getvalue().splitlines()[3].split("\t")[0]
    assert folder.fold_to_dot_bracket(sequence) == dot_bracket


def test_squarna_takes_the_settings_of_a_length(monkeypatch):
    pytest.importorskip("SQUARNA", reason="a baseline of the extras that is not installed")
    asked = []

    def predict(sequence, *, paramsets, priority, poollim, mp):
        asked.append((paramsets[0]["suboptmin"], sorted(priority), mp))
        assert poollim == 1000
        return ["." * len(sequence)]

    monkeypatch.setattr("SQUARNA.SQRNdbnseq.SQRNdbnseq", predict)
    folder = find_folder("squarna")
    assert folder is not None
    for length in (499, 500, 999, 1000):
        folder.fold("A" * length)
    starting = [suboptmin for suboptmin, _, _ in asked]
    assert starting == [0.65, 0.9, 0.9, 1.0]  # def.conf, 500.conf, 500.conf, 1000.conf
    assert len(asked[0][1]) == 3
    assert not any(mp for _, _, mp in asked)


@pytest.mark.parametrize("system", MODULES)
def test_without_its_library_the_row_is_left_out_with_the_cure(system, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, MODULES[system], None)  # import raises ImportError
    assert find_folder(system) is None
    assert "no row for " in caplog.text
    assert "pip install" in caplog.text


def test_contrafold_is_in_no_library(caplog):
    assert find_folder("contrafold") is None
    assert "no row for CONTRAfold" in caplog.text
    assert "eternafold" in caplog.text


def test_unknown_system():
    with pytest.raises(ValueError, match=r"no folding program 'mfold'; there are viennarna"):
        find_folder("mfold")
    assert set(FOLDER_SYSTEMS) == {*MODULES, "contrafold"}


def _is_installed(module):
    try:
        __import__(module)
    except ImportError:
        return False
    return True
