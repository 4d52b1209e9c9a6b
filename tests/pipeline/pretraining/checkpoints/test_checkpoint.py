import hashlib
import json
import logging
import subprocess

import pytest
import torch
from safetensors.torch import load_file

from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import Checkpoint, DamagedError
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint_choice import open_newest, read_latest
from support.checkpoints import ALONE, assert_holds, flip, make_state, open_alone, save

UNEVEN = (4, 0, 9)
"""Three ranks; the second has nothing of any tensor, the third nothing of most."""


@pytest.fixture
def folder(tmp_path):
    """Two whole checkpoints of three ranks."""
    save(tmp_path, 10, sizes=UNEVEN)
    save(tmp_path, 20, sizes=UNEVEN)
    return tmp_path


def test_uneven_and_empty_slices_join_to_the_whole(tmp_path):
    values = save(tmp_path, 30, sizes=UNEVEN)
    checkpoint = open_alone(tmp_path)
    assert_holds(checkpoint, values)
    assert checkpoint.state == make_state(30)


def test_files_are_plain_safetensors_without_padding(tmp_path):
    values = save(tmp_path, 30, sizes=UNEVEN)
    files = [load_file(file) for file in sorted((tmp_path / "step-00000030").glob("rank-*"))]
    assert [file["weight.out"].tolist() for file in files] == [
        values["out"]["weight"][:4].tolist(),
        [],
        values["out"]["weight"][4:].tolist(),
    ]
    assert "exp_avg.out" not in files[0]
    assert "momentum_buffer.out" in files[0]


def test_the_state_names_every_files_hash_and_sha256sum_checks_the_state(folder):
    checkpoint = folder / "step-00000020"
    state = json.loads((checkpoint / "state.json").read_text())
    assert len(state["files"]) == 3
    for name, file in state["files"].items():
        content = (checkpoint / name).read_bytes()
        assert file == {
            "sha256": hashlib.sha256(content).hexdigest(),
            "num_bytes": len(content),
        }
    assert state["parameters"]["out"] == {"shape": [5], "kinds": ["weight", "momentum_buffer"]}
    subprocess.run(["sha256sum", "-c", "state.sha256"], cwd=checkpoint, check=True)


def test_any_range_is_read_across_the_files_that_hold_it(tmp_path):
    flat = save(tmp_path, 30, sizes=UNEVEN)["embedding"]["weight"].flatten()
    checkpoint = open_alone(tmp_path)
    for first in range(len(flat) + 1):
        for end in range(first, len(flat) + 1):
            assert torch.equal(
                checkpoint.read_range("embedding", "weight", first, end), flat[first:end]
            )


def test_every_flipped_byte_is_found_and_its_file_named(tmp_path):
    save(tmp_path, 10, sizes=(4, 9))
    checkpoint = tmp_path / "step-00000010"
    files = sorted(checkpoint.iterdir())
    assert len(files) == 4
    for path in files:
        for position in range(path.stat().st_size):
            flip(path, position, 1 << position % 8)
            with pytest.raises(DamagedError, match=path.name):
                Checkpoint(checkpoint).verify()
            flip(path, position, 1 << position % 8)
    Checkpoint(checkpoint).verify()


def test_every_flipped_byte_of_latest_is_found_and_leads_to_no_other_step(folder, caplog):
    save(folder, 11)
    save(folder, 10)  # after a roll-back: not the last by number
    latest = folder / "latest"
    for position in range(latest.stat().st_size):
        for bits in (1, 2, 0x80):
            flip(latest, position, bits)
            step, fault = read_latest(folder)
            assert step == 10
            assert "latest is damaged" in str(fault)
            flip(latest, position, bits)
    flip(latest, 0)
    assert open_alone(folder).state.step == 10
    assert "latest is damaged" in caplog.text


def test_a_bare_name_in_latest_is_taken(folder):
    (folder / "latest").write_text("step-00000010")
    assert read_latest(folder) == (10, None)
    (folder / "latest").write_text("step-00000015\n")
    assert read_latest(folder)[0] is None


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing shard", "missing state"])
def test_the_one_before_is_used_where_the_newest_is_damaged(folder, damage, caplog):
    checkpoint = folder / "step-00000020"
    file = checkpoint / "rank-00002-of-00003.safetensors"
    if damage == "flipped":
        flip(file, -1)
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:-5])
    elif damage == "missing shard":
        file.unlink()
    else:
        file = checkpoint / "state.json"
        file.unlink()
    with caplog.at_level(logging.WARNING):
        assert open_alone(folder).state.step == 10
    assert f"{file} is {'missing' if 'missing' in damage else 'damaged'}" in caplog.text
    assert "going on from the checkpoint of step 10" in caplog.text


def test_where_none_is_whole_every_fault_is_named(folder):
    flip(folder / "step-00000010" / "rank-00000-of-00003.safetensors", 100)
    (folder / "step-00000020" / "rank-00001-of-00003.safetensors").unlink()
    with pytest.raises(ValueError, match="no checkpoint in .* is whole") as caught:
        open_newest(folder, ALONE)
    assert "step-00000010/rank-00000-of-00003.safetensors is damaged" in str(caught.value)
    assert "step-00000020/rank-00001-of-00003.safetensors is missing" in str(caught.value)
    assert "another out=" in str(caught.value)


def test_without_latest_the_newest_is_used_with_a_warning(folder, caplog):
    (folder / "latest").unlink()
    assert open_alone(folder).state.step == 20
    assert "latest is missing" in caplog.text


def test_a_whole_one_passes_without_warnings(folder, caplog):
    assert open_alone(folder).state.step == 20
    assert not caplog.records


def test_what_was_abandoned_comes_last(folder, caplog):
    """After `use`, or a roll-back, steps past `latest` are of another course of the run."""
    save(folder, 15)
    assert open_alone(folder).state.step == 15
    flip(folder / "step-00000015" / "state.json", 5)
    assert open_alone(folder).state.step == 10
    flip(folder / "step-00000010" / "state.json", 5)
    assert open_alone(folder).state.step == 20
    assert "passing over the checkpoint of step 10" in caplog.text


def test_a_roll_back_asks_for_an_older_one(folder):
    assert open_newest(folder, ALONE, at_most=19).state.step == 10  # pyright: ignore[reportOptionalMemberAccess]
    assert open_newest(folder, ALONE, at_most=9) is None


def test_nothing_is_no_checkpoint_but_latest_alone_is_a_loss(tmp_path):
    assert open_newest(tmp_path, ALONE) is None
    assert open_newest(tmp_path / "absent", ALONE) is None
    (tmp_path / "latest").write_text("step-00000020 abc\n")
    with pytest.raises(ValueError, match="latest is damaged.*Put the step- folders back"):
        open_newest(tmp_path, ALONE)


def test_another_format_is_refused_by_number(folder):
    checkpoint = folder / "step-00000020"
    (checkpoint / "state.sha256").unlink()  # the first format had none
    content = json.loads((checkpoint / "state.json").read_text())
    for version, number in ((None, 1), (3, 3)):
        content["format_version"] = version
        if version is None:
            del content["format_version"]
        (checkpoint / "state.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=f"checkpoint format {number}, this version reads 2"):
            open_newest(folder, ALONE)
