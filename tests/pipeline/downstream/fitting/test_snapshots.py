"""A snapshot is there whole or not at all; a broken one is named, never skipped."""

import pytest
import torch

from openrinalmo.pipeline.downstream.fitting.snapshots import (
    FINISHED,
    read_snapshot,
    select_prefix,
    write_snapshot,
)

TENSORS = {
    "weights/a": torch.arange(6.0).reshape(2, 3),
    "weights/b": torch.tensor(7),
    "optimizer/a/step": torch.tensor(3.0),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}
FACTS = {"losses": [0.1 + 0.2, 1 / 3], "identity": "x"}


def read(folder):
    snapshot = read_snapshot(folder)
    assert snapshot is not None
    return snapshot


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    assert read_snapshot(tmp_path / "fit") is None
    write_snapshot(tmp_path / "fit", "12", TENSORS, FACTS)
    snapshot = read(tmp_path / "fit")
    assert snapshot.facts == FACTS
    assert snapshot.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(snapshot.tensors[name], tensor)
    assert select_prefix(snapshot.tensors, "weights/").keys() == {"a", "b"}
    assert not snapshot.is_finished


def test_the_latest_counts_and_the_finished_above_all(tmp_path):
    for name in ("9", "10"):
        (tmp_path / name).mkdir()
        write_snapshot(tmp_path / name, name, TENSORS, {"step": name})
        (tmp_path / name / name).rename(tmp_path / f"{name}.kept")
        (tmp_path / name).rmdir()
        (tmp_path / f"{name}.kept").rename(tmp_path / name)
    assert read(tmp_path).facts == {"step": "10"}
    write_snapshot(tmp_path, FINISHED, TENSORS, FACTS)
    assert read(tmp_path).is_finished
    assert [path.name for path in tmp_path.iterdir()] == [FINISHED]


def test_half_written_is_not_there_and_is_cleaned_up(tmp_path):
    write_snapshot(tmp_path, "3", TENSORS, FACTS)
    (tmp_path / "4.partial").mkdir()
    (tmp_path / "4.partial" / "tensors.safetensors").write_bytes(b"half")
    assert read(tmp_path).facts == FACTS
    write_snapshot(tmp_path, "4", TENSORS, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


@pytest.mark.parametrize("name", ["tensors.safetensors", "facts.json"])
@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_a_broken_one_is_refused_by_name(tmp_path, name, fault):
    write_snapshot(tmp_path, "3", TENSORS, FACTS)
    path = tmp_path / "3" / name
    content = path.read_bytes()
    path.unlink()
    if fault == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"3 is no whole state of a fit .*; delete it"):
        read_snapshot(tmp_path)
