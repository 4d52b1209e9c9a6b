import pytest
import torch

from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.upstream import export_published
from openrinalmo.model.weights import (
    EXPORT_NAME,
    build_random_twin,
    load_masked_lm,
    save_masked_lm,
)

CONFIG = EncoderConfig(embed_dim=24, num_blocks=1, num_heads=3, residual_dropout=0.25)


@pytest.fixture
def export(tmp_path):
    path = tmp_path / EXPORT_NAME
    save_masked_lm(build_random_twin(CONFIG, seed=0), path, {"run": "test", "step": "7"})
    return path


def test_an_export_loads_with_its_sizes_and_provenance(export):
    loaded = load_masked_lm(export)
    assert loaded.model.config == CONFIG
    assert (loaded.metadata["run"], loaded.metadata["step"]) == ("test", "7")
    assert len(loaded.metadata["sha256"]) == 64
    expected = export_published(build_random_twin(CONFIG, seed=0))
    for key, value in export_published(loaded.model).items():
        assert torch.equal(value, expected[key]), key


def test_a_runs_folder_stands_for_its_export(export):
    assert (
        load_masked_lm(export.parent).metadata["sha256"]
        == load_masked_lm(export).metadata["sha256"]
    )


def test_a_published_pt_file_loads(tmp_path):
    path = tmp_path / "published.pt"
    torch.save(export_published(build_random_twin(CONFIG, seed=0)), path)
    assert load_masked_lm(path, num_heads=3).model.config.num_heads == 3


def test_the_random_twin_is_a_function_of_its_seed_and_leaves_the_generator_alone():
    before = torch.get_rng_state()
    first, same, other = (build_random_twin(CONFIG, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    weight = "head.dense.weight"
    assert torch.equal(first.state_dict()[weight], same.state_dict()[weight])
    assert not torch.equal(first.state_dict()[weight], other.state_dict()[weight])


def test_a_pickled_object_is_never_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    path = tmp_path / "bomb.pt"
    torch.save({"embedding.weight": Bomb()}, path)
    with pytest.raises(Exception, match="[Ww]eights.only"):
        load_masked_lm(path)


def test_what_is_missing_or_damaged_is_named(tmp_path, export):
    with pytest.raises(FileNotFoundError, match="no weights at .*absent"):
        load_masked_lm(tmp_path / "absent.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=f"empty has no {EXPORT_NAME}.*make pretrain"):
        load_masked_lm(tmp_path / "empty")
    export.write_bytes(export.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_masked_lm(export)
