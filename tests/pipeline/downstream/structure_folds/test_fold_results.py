"""A result of a fold in its file, whatever the part is called."""

import pytest

from openrinalmo.pipeline.downstream.structure_folds.fold_results import (
    FoldResult,
    load_fold_result,
    save_fold_result,
)


@pytest.mark.parametrize("part", ["tRNA", "a/b c", "x" * 300])
def test_any_part_has_a_file_and_comes_back_by_its_key(tmp_path, part):
    results = [FoldResult(key=key, system="one-hot", part=part, sequences=()) for key in "ab"]
    for result in results:
        save_fold_result(result, tmp_path)
    assert [load_fold_result(tmp_path, "one-hot", part, key) for key in "ab"] == results
    assert load_fold_result(tmp_path, "one-hot", part, "c") is None
