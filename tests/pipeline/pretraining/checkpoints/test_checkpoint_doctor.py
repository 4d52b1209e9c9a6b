import pytest

from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import Checkpoint
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_choice import (
    find_checkpoints,
    read_latest,
)
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_doctor import (
    compare_checkpoints,
    find_checkpoint,
    find_faults,
    list_checkpoints,
    reshape_checkpoint,
    use_checkpoint,
)
from support.checkpoints import assert_holds, flip, make_values, open_alone, save

UNEVEN = (4, 0, 9)


@pytest.fixture
def run(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path / "checkpoints", step, sizes=UNEVEN)
    return tmp_path


def test_reshaped_there_and_back_every_bit_is_the_same(run):
    source = open_alone(run / "checkpoints")
    two, five, three = (run / name / "step-00000030" for name in ("two", "five", "three"))
    reshape_checkpoint(source, two, num_ranks=2)
    reshape_checkpoint(Checkpoint(two), five, num_ranks=5)
    reshape_checkpoint(Checkpoint(five), three, num_ranks=3)
    for path, num_ranks in ((two, 2), (five, 5), (three, 3)):
        checkpoint = Checkpoint(path)
        checkpoint.verify()
        assert len(list(path.glob("rank-*.safetensors"))) == num_ranks
        assert_holds(checkpoint, make_values(30))
        assert (checkpoint.state, checkpoint.saved_at) == (source.state, source.saved_at)
        assert_holds(open_alone(path.parent), make_values(30))
    sizes = [
        Checkpoint(five).files[f"rank-{rank:05d}-of-00005.safetensors"].num_bytes
        for rank in range(5)
    ]
    assert sizes[0] == max(sizes)


def test_a_reshape_overwrites_nothing(run):
    checkpoint = open_alone(run / "checkpoints")
    with pytest.raises(ValueError, match="exists already: give the name of a new folder"):
        reshape_checkpoint(checkpoint, run, num_ranks=2)
    with pytest.raises(ValueError, match="RANKS must be 1 or more, got 0"):
        reshape_checkpoint(checkpoint, run / "new", num_ranks=0)


def test_the_list_says_what_is_whole_latest_and_why_not(run):
    folder = run / "checkpoints"
    (folder / "step-00000010" / "rank-00001-of-00003.safetensors").unlink()
    flip(folder / "step-00000020" / "state.json", 3)
    first, second, third = list_checkpoints(run)
    assert "rank-00001-of-00003.safetensors is missing" in str(first)
    assert "state.json is damaged" in str(second)
    assert str(third).endswith("latest         whole")
    assert (third.num_ranks, third.is_exported) == (3, False)
    assert third.num_bytes == sum(
        file.stat().st_size for file in (folder / "step-00000030").glob("rank*")
    )


def test_every_fault_of_every_checkpoint_is_found(run):
    folder = run / "checkpoints"
    assert find_faults(run) == []
    damaged = [
        folder / "step-00000010" / "rank-00000-of-00003.safetensors",
        folder / "step-00000010" / "rank-00002-of-00003.safetensors",
        folder / "step-00000020" / "state.sha256",
        folder / "latest",
    ]
    for path in damaged:
        flip(path, 10)
    missing = folder / "step-00000030" / "rank-00001-of-00003.safetensors"
    missing.unlink()
    faults = find_faults(folder)
    assert len(faults) == 5
    for path in (*damaged, missing):
        assert sum(path.name in fault and path.parent.name in fault for fault in faults) == 1, path


def test_another_checkpoint_is_used_if_it_is_whole(run):
    folder = run / "checkpoints"
    use_checkpoint(run, "20")
    assert read_latest(folder) == (20, None)
    assert open_alone(folder).state.step == 20
    flip(folder / "step-00000010" / "rank-00000-of-00003.safetensors", -1)
    with pytest.raises(ValueError, match="rank-00000-of-00003.safetensors is damaged"):
        use_checkpoint(run, "10")
    assert read_latest(folder) == (20, None)


def test_a_step_is_found_by_number_or_as_latest(run):
    found = find_checkpoints(run / "checkpoints")
    assert find_checkpoint(run, "latest") == found[30]
    assert find_checkpoint(run / "checkpoints", "10") == found[10]
    for step in ("15", "newest", "-1"):
        with pytest.raises(ValueError, match=f"no checkpoint {step}: give latest or one of 10, 20"):
            find_checkpoint(run, step)
    with pytest.raises(FileNotFoundError, match="no checkpoints in .*give a run's folder"):
        list_checkpoints(run / "elsewhere")


def test_differences_are_counted_by_kind_and_bit(tmp_path):
    values = make_values(1)
    save(tmp_path, 1, values=values)
    values["embedding"]["weight"][2, 1] += 0.5
    values["beta"]["weight"][0] -= 2.0
    values["out"]["momentum_buffer"][3] = float("nan")
    save(tmp_path, 2, values=values, sizes=UNEVEN)
    first, second = map(Checkpoint, find_checkpoints(tmp_path).values())
    by_kind = {difference.kind: difference for difference in compare_checkpoints(first, second)}
    weight = by_kind["weight"]
    assert (weight.name, weight.num_differing, weight.num_values) == ("beta", 2, 27)
    assert weight.largest == pytest.approx(2.0)
    assert by_kind["exp_avg"].num_differing == 0  # it holds a nan in both
    assert str(by_kind["momentum_buffer"]) == (
        "momentum_buffer: 1 of 5 values differ, most by nan in out"
    )
    assert str(by_kind["exp_avg_sq"]) == "exp_avg_sq: 0 of 22 values differ"
