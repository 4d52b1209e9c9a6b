"""One-hot rows, and ViennaRNA where it is and where it is not installed."""

import builtins

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.baselines import encode_one_hot, find_viennarna, fold_mfe


def test_one_hot():
    rows = encode_one_hot(["GA", "UTNC"])
    expected = [[0, 0, 1, 0], [1, 0, 0, 0], *[[0, 0, 0, 1]] * 2, [0] * 4, [0, 1, 0, 0]]
    np.testing.assert_array_equal(rows, np.array(expected, np.float32))
    assert rows.dtype == np.float32


def test_viennarna_folds_a_hairpin():
    pytest.importorskip("RNA", reason="needs the extra `baselines`")
    viennarna = find_viennarna()
    assert viennarna is not None
    assert fold_mfe(viennarna, "GGGGCAAAAGCCCC").tolist() == [[n, 13 - n] for n in range(5)]


def test_without_viennarna_the_row_is_left_out_with_the_cure(monkeypatch, caplog):
    real_import = builtins.__import__

    def import_without_rna(name, *arguments, **keywords):
        if name == "RNA":
            raise ImportError("No module named 'RNA'")
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", import_without_rna)
    assert find_viennarna() is None
    assert "no row for ViennaRNA" in caplog.text
    assert "extra `baselines`" in caplog.text
