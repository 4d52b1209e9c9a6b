"""The real pretraining script on CPU ranks: exactness of the loss, of resuming, of the export."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from openrinalmo.data_prep.shards import open_split
from openrinalmo.model.masked_lm import MaskedLM, masked_lm_loss_sum
from openrinalmo.model.upstream import export_published
from openrinalmo.model.weights import load_masked_lm
from openrinalmo.pipeline.overrides import apply_overrides
from openrinalmo.pipeline.pretraining.batches import PackStream
from openrinalmo.pipeline.pretraining.checkpoints.checkpoint import Checkpoint
from openrinalmo.pipeline.pretraining.optim import build_optimizer, compute_lr
from openrinalmo.pipeline.pretraining.presets import PRESETS
from support.corpora import make_corpus
from support.launch import run_pretrain, run_script

# Three packs a step: on two ranks the second micro-step of one rank only fills in.
SMALL = (
    "model.embed_dim=30",
    "model.num_blocks=2",
    "model.num_heads=3",
    "batches.micro_batch_tokens=400",
    "batches.global_batch_tokens=1200",
    "sampling.max_length_nt=90",
    "optim.peak_lr=0.01",
    "optim.warmup_steps=5",
    "optim.max_grad_norm=0.5",
    "tracking.log_every=1",
    "checkpoint.every_steps=10",
)
DROPOUT = ("model.attention_dropout=0.1", "model.residual_dropout=0.1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=80)


def pretrain(corpus: Path, out: Path, *settings: str, ranks: int = 2) -> None:
    done = run_pretrain(
        "--preset", "tiny", *SMALL, f"data={corpus}", f"out={out}", *settings, ranks=ranks
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def plain_run(corpus, tmp_path_factory) -> Path:
    """Ten steps on two ranks without dropout."""
    out = tmp_path_factory.mktemp("plain") / "run"
    pretrain(corpus, out, "steps=10")
    return out


@pytest.fixture(scope="module")
def straight_run(corpus, tmp_path_factory) -> Path:
    """Twenty steps on two ranks with dropout, without a stop."""
    out = tmp_path_factory.mktemp("straight") / "run"
    pretrain(corpus, out, "steps=20", *DROPOUT)
    return out


@pytest.fixture(scope="module")
def resumed_run(corpus, tmp_path_factory) -> Path:
    """The same twenty steps, stopped after ten and resumed."""
    out = tmp_path_factory.mktemp("resumed") / "run"
    pretrain(corpus, out, "steps=10", *DROPOUT)
    pretrain(corpus, out, "steps=20", *DROPOUT, "--resume")
    return out


def read_log(run: Path, kind: str = "train") -> list[dict]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == kind]


def test_losses_and_weights_are_those_of_plain_pytorch(corpus, plain_run):
    config = apply_overrides(PRESETS["tiny"](), [*SMALL, "steps=10"])
    torch.manual_seed(config.seed)
    model = MaskedLM(config.model)
    optimizer = build_optimizer(model.parameters(), config.optim, torch.device("cpu"))
    stream = PackStream(
        open_split(corpus, "train"),
        pack_tokens=400,
        sampling=config.sampling,
        masking=config.masking,
        seed=config.seed,
    )
    rows = read_log(plain_run)
    for step in range(10):
        packs = [stream.pack(3 * step + i) for i in range(3)]
        count = sum(len(pack.labels_M) for pack in packs)
        loss = torch.zeros(())
        for pack in packs:
            output = model(pack.ids_T, pack.cu_seqlens, pack.max_seqlen)
            logits = output.logits_TV[pack.predicted_rows_M]
            loss = loss + masked_lm_loss_sum(logits, pack.labels_M) / count
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.max_grad_norm)
        optimizer.param_groups[0]["lr"] = compute_lr(step, config.optim)
        optimizer.step()
        assert rows[step]["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert rows[step]["grad_norm"] == pytest.approx(norm.item(), rel=1e-4)
        assert rows[step]["masked_tokens"] == count
    exported = export_published(load_masked_lm(plain_run).model)
    for name, value in export_published(model).items():
        torch.testing.assert_close(exported[name], value, atol=2e-5, rtol=1e-4)


def test_ten_steps_and_ten_resumed_equal_twenty_bit_for_bit(straight_run, resumed_run):
    for file in sorted((straight_run / "checkpoints" / "step-00000020").glob("*.safetensors")):
        other = resumed_run / "checkpoints" / "step-00000020" / file.name
        with safe_open(file, "pt") as a, safe_open(other, "pt") as b:
            assert set(a.keys()) == set(b.keys())
            for key in a.keys():  # noqa: SIM118
                assert torch.equal(a.get_tensor(key), b.get_tensor(key)), (file.name, key)
    straight, resumed = read_log(straight_run), read_log(resumed_run)
    assert [row["loss"] for row in straight] == [row["loss"] for row in resumed]


def test_a_run_goes_on_at_another_world_size(corpus, straight_run, resumed_run, tmp_path):
    checkpoint = resumed_run / "checkpoints" / "step-00000010"
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints" / checkpoint.name).symlink_to(checkpoint)
    (out / "checkpoints" / "latest").write_text(checkpoint.name)
    pretrain(corpus, out, "steps=20", *DROPOUT, "--resume", ranks=1)
    straight = [row["loss"] for row in read_log(straight_run)][10:]
    assert [row["loss"] for row in read_log(out)] == pytest.approx(straight, rel=1e-5)


def test_loss_falls_and_validation_knows_the_rna_types(straight_run):
    losses = [row["loss"] for row in read_log(straight_run)]
    assert losses[0] > 2.5
    assert losses[-1] < 1.6
    (validation,) = read_log(straight_run, "validation")
    assert set(validation["loss_per_rna_type"]) == {"hairpin", "repeat"}
    assert validation["loss_per_rna_type"]["repeat"] < validation["loss_per_rna_type"]["hairpin"]
    assert validation["perplexity"] == pytest.approx(2.718281828 ** validation["loss"])


def test_the_export_knows_its_run_and_equals_the_checkpoint(straight_run):
    loaded = load_masked_lm(straight_run)
    assert loaded.metadata["step"] == "20"
    assert json.loads(loaded.metadata["run_config"])["optim.peak_lr"] == 0.01
    checkpoint = Checkpoint(straight_run / "checkpoints" / "step-00000020")
    checkpoint.verify()
    fresh = MaskedLM(loaded.model.config)
    checkpoint.load_weights(fresh)
    for (name, a), b in zip(fresh.named_parameters(), loaded.model.parameters(), strict=True):
        assert torch.equal(a, b), name
    assert list((straight_run / "tensorboard").glob("events.*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("steps=30",), "already holds a run (step-00000020): go on with --resume"),
        (("--resume", "optim.peak_lr=0.1"), "optim.peak_lr was 0.01 and is now 0.1"),
        (("--resume", "model.attention_dropout=0.2"), "model.attention_dropout was 0.1 and is now"),
        (("--resume", "optim.peak=1"), "did you mean 'peak_lr'?"),
        (("data=nowhere",), "no prepared data in nowhere"),
        (("--resume", "engine=zero9"), "engine=zero9: no such settings; give one of cpu, "),
    ],
)
def test_refusals_name_the_setting_and_the_cure(corpus, straight_run, arguments, message):
    settings = (*SMALL, *DROPOUT, f"data={corpus}", f"out={straight_run}", *arguments)
    done = run_script("pipeline/pretrain.py", "--preset", "tiny", *settings)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_other_data_is_refused_on_resume(straight_run, tmp_path):
    other = make_corpus(tmp_path, num_clusters=80, seed=1)
    settings = (*SMALL, *DROPOUT, f"data={other}", f"out={straight_run}", "--resume")
    done = run_script("pipeline/pretrain.py", "--preset", "tiny", *settings)
    assert done.returncode == 1
    assert "give the same data" in done.stderr


def test_other_data_is_taken_when_told(plain_run, tmp_path):
    other = make_corpus(tmp_path / "other", num_clusters=60, seed=1)
    run = tmp_path / "run"
    shutil.copytree(plain_run, run)
    settings = (*SMALL, f"data={other}", f"out={run}", "steps=12", "--resume")
    done = run_script("pipeline/pretrain.py", "--preset", "tiny", *settings, "--allow-other-data")
    assert done.returncode == 0, done.stderr
    assert "going on with other data" in done.stderr
    assert [row["step"] for row in read_log(run)] == list(range(1, 13))


def test_a_damaged_checkpoint_is_refused(corpus, plain_run):
    file = next((plain_run / "checkpoints" / "step-00000010").glob("rank-00000*"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    done = run_script(
        "pipeline/pretrain.py", "--preset", "tiny", *SMALL, f"data={corpus}", f"out={plain_run}",
        "steps=20", "--resume",
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{file.name} is damaged" in done.stderr


def test_a_missing_compiler_is_named_with_the_cure(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    settings = (*SMALL, f"data={corpus}", f"out={tmp_path}", "steps=1")
    done = run_script("pipeline/pretrain.py", "--preset", "tiny", *settings)
    assert done.returncode == 1
    assert "no no-such-compiler on PATH" in done.stderr
    assert "apt-get install g++" in done.stderr


def test_dry_run_prints_every_setting():
    done = run_script("pipeline/pretrain.py", "--preset", "giga", "--dry-run", "steps=7")
    settings = json.loads(done.stdout)
    assert (settings["steps"], settings["model.embed_dim"], settings["optim.peak_lr"]) == (
        7,
        1280,
        5e-5,
    )
