"""Tasks on whole sequences from data to report: every system, stopped and gone on with, packed."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.fitting.lora import LoraConfig
from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.fitting.task_model import TaskModel, predict
from openrinalmo.pipeline.downstream.representations.embed import (
    EmbedConfig,
    embed_sequences,
    load_checkpoint,
)
from openrinalmo.pipeline.downstream.representations.row_readers import FrozenRows
from openrinalmo.pipeline.downstream.scores.bootstrap import BootstrapConfig
from openrinalmo.pipeline.downstream.sequence_tasks import (
    sequence_eval,
    sequence_fit,
    sequence_sources,
)
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_config import (
    SequenceConfig,
)
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_eval import evaluate_sequence_task
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_rows import write_rows
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_runs import (
    SequenceRun,
    load_run,
    save_run,
)
from openrinalmo.pipeline.downstream.sequence_tasks.task_files import hash_each
from openrinalmo.pipeline.downstream.structures.records import hash_file
from openrinalmo.pipeline.downstream.task_report import (
    PublishedScore,
    read_task_report,
    write_task_report,
)
from openrinalmo.pipeline.downstream.tasks.classification import ClassificationTask
from openrinalmo.pipeline.downstream.tasks.ribosome_load import RibosomeLoadTask
from openrinalmo.pipeline.downstream.tasks.splice import SpliceTask
from openrinalmo.pipeline.downstream.tasks.task import TaskData
from support.families import write_checkpoint
from support.sequence_tasks import (
    draw_sequence,
    write_classes,
    write_loads,
    write_published_splice,
    write_rfam,
    write_splice,
)

BRIEF = RegimeConfig(epochs=2, batch_sequences=8, peak_lr=1e-2, max_tokens_per_pack=2048)


def build_config(**changes):
    settings = {
        "preset": "toy",
        "regimes": ("linear", "frozen"),
        "kmer_nt": 2,
        "device": "cpu",
        "head_fit": BRIEF,
        "full_fit": BRIEF,
        "lora_fit": BRIEF,
        "bootstrap": BootstrapConfig(num_resamples=20),
    }
    return SequenceConfig(**{**settings, **changes})


@pytest.fixture
def checkpoint(tmp_path):
    return load_checkpoint(write_checkpoint(tmp_path / "weights"))


def strip_times(report):
    """The report without how long things took."""
    plain = json.loads(json.dumps(dataclasses.asdict(report), default=str))
    del plain["costs"]
    for facts in plain["settings"]["fits"].values():
        del facts["seconds"]
    return plain


@pytest.mark.parametrize(
    ("build_task", "write", "splits"),
    [
        (lambda: SpliceTask("donor"), write_splice, 2),
        (RibosomeLoadTask, write_loads, 1),
        (lambda: ClassificationTask("rfam-type"), write_rfam, 2),
    ],
    ids=["splice", "ribosome-load", "rfam-type"],
)
def test_every_system_is_scored_and_compared(tmp_path, checkpoint, build_task, write, splits):
    task, config = build_task(), build_config()
    data = write(tmp_path / "data")
    report = evaluate_sequence_task(task, checkpoint, config, data=data, out=tmp_path / "out")
    one_hot = "frozen" if task.name == "ribosome-load" else "linear"
    assert {(score.system, score.regime) for score in report.scores} == {
        ("pretrained", "linear"),
        ("pretrained", "frozen"),
        ("random encoder", "linear"),
        ("random encoder", "frozen"),
        ("one-hot", one_hot),
        ("k-mer", "linear"),
    }
    parts = {score.part for score in report.scores}
    for part in parts:
        primary = [s for s in report.scores if s.part == part and s.is_primary]
        assert len(primary) == 6
        assert {score.metric for score in primary} == {task.primary_metric}
        assert len([gain for gain in report.gains if gain.part == part]) == 6
    for score in report.scores:
        assert score.low is not None
        assert score.high is not None
        assert score.low <= score.high
    whole = [note for note in report.notes if "have half their 16-mers there" in note]
    assert len(whole) == len(parts)
    assert len({score.part for score in report.scores}) >= splits
    assert read_task_report(write_task_report(report, tmp_path)).signature == report.signature
    for gain in report.gains:
        names = (gain.system, gain.baseline)
        values = [
            next(
                s.value
                for s in report.scores
                if s.part == gain.part
                and s.is_primary
                and name in (s.system, f"{s.system} ({s.regime})")
            )
            for name in names
        ]
        assert gain.gain == pytest.approx(values[0] - values[1])


def test_a_stopped_evaluation_goes_on_to_the_same_numbers(tmp_path, checkpoint, monkeypatch):
    task, config = ClassificationTask("nrc13"), build_config()
    data = write_classes(tmp_path / "data")
    at_once = evaluate_sequence_task(task, checkpoint, config, data=data, out=tmp_path / "whole")

    fits = []
    original = sequence_sources.Source.fit

    def stop_at_the_fourth(self, job, folder):
        if len(fits) == 3:
            raise KeyboardInterrupt
        fits.append((job.system, job.regime))
        return original(self, job, folder)

    monkeypatch.setattr(sequence_sources.Source, "fit", stop_at_the_fourth)
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        evaluate_sequence_task(task, checkpoint, config, data=data, out=out)
    assert len(list((out / "runs").glob("*.npz"))) == 3
    assert len(list((out / ".rows").iterdir())) == 1
    (out / ".rows" / "of-a-killed-run").mkdir()

    monkeypatch.setattr(sequence_sources.Source, "fit", original)
    first = dict.fromkeys(path.name for path in (out / "runs").iterdir())
    resumed = evaluate_sequence_task(task, checkpoint, config, data=data, out=out)
    assert not (out / ".rows").exists()
    assert strip_times(resumed) == strip_times(at_once)
    assert len(first) == 3

    def refuse(self, job, folder):
        raise AssertionError("a finished fit is not repeated")

    monkeypatch.setattr(sequence_sources.Source, "fit", refuse)
    again = evaluate_sequence_task(task, checkpoint, config, data=data, out=out)
    assert dataclasses.asdict(again) == dataclasses.asdict(resumed)


def test_keys_change_with_what_decides_a_number_and_with_nothing_else(tmp_path, checkpoint):
    task = ClassificationTask("nrc13")
    data = task.read(write_classes(tmp_path / "data"))
    (split,) = task.split(data, seed=0)
    cpu = torch.device("cpu")

    def build(system, regime, config=None, checkpoint=checkpoint, split=split):
        return sequence_eval._build_run_key(
            task, data, split, (system, regime), checkpoint, config or build_config(), cpu
        )

    other = load_checkpoint(write_checkpoint(tmp_path / "other", seed=4))
    slower = build_config(head_fit=dataclasses.replace(BRIEF, peak_lr=1e-3))
    assert build("pretrained", "linear") != build("pretrained", "linear", checkpoint=other)
    assert build("random encoder", "linear") == build("random encoder", "linear", checkpoint=other)
    assert build("k-mer", "linear") == build("k-mer", "linear", checkpoint=other)
    assert build("k-mer", "linear") != build("k-mer", "linear", build_config(kmer_nt=3))
    assert build("one-hot", "linear") == build("one-hot", "linear", build_config(kmer_nt=3))
    assert build("pretrained", "frozen") != build("pretrained", "frozen", slower)
    assert build("pretrained", "linear") == build("pretrained", "linear", slower)
    assert build("pretrained", "full") == build("pretrained", "full", slower)
    shorter = dataclasses.replace(split, train=split.train[1:])
    assert build("pretrained", "linear") != build("pretrained", "linear", split=shorter)
    # The interval and the preset's name decide no output.
    named = build_config(preset="x", bootstrap=BootstrapConfig(num_resamples=3))
    assert build("pretrained", "frozen") == build("pretrained", "frozen", named)


@pytest.mark.parametrize("regime", ["lora", "full"])
def test_the_encoder_may_train_and_the_checkpoint_stays_as_it_was(tmp_path, checkpoint, regime):
    before = {name: one.clone() for name, one in checkpoint.encoder.state_dict().items()}
    brief = dataclasses.replace(BRIEF, epochs=1, lora=LoraConfig(rank=2, every=1))
    config = build_config(
        systems=("pretrained", "random encoder"),
        regimes=(regime,),
        max_train=12,
        max_validation=4,
        full_fit=brief,
        lora_fit=brief,
    )
    task = ClassificationTask("nrc13")
    data = write_classes(tmp_path / "data")
    report = evaluate_sequence_task(task, checkpoint, config, data=data, out=tmp_path / "out")
    assert {score.regime for score in report.scores} == {regime}
    assert {gain.baseline for gain in report.gains} == {"random encoder"}
    for name, tensor in checkpoint.encoder.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert any("only a draw: 12 of" in note for note in report.notes)


@pytest.mark.parametrize(("choose", "times"), [("last", 0), ("best-validation", 2)])
def test_what_is_validated_is_predicted_only_where_a_choice_is_made(
    tmp_path, checkpoint, monkeypatch, choose, times
):
    task, predicted = ClassificationTask("nrc13"), []
    data = write_classes(tmp_path / "data")
    (split,) = task.split(task.read(data), seed=0)

    def spy(model, indices, *arguments, **settings):
        predicted.append(tuple(indices))
        return predict(model, indices, *arguments, **settings)

    monkeypatch.setattr(sequence_fit, "predict", spy)
    config = build_config(
        systems=("pretrained",),
        regimes=("frozen",),
        head_fit=dataclasses.replace(BRIEF, choose=choose),
    )
    evaluate_sequence_task(task, checkpoint, config, data=data, out=tmp_path / "out")
    assert predicted.count(split.validation) == times
    assert predicted[times:] == list(split.tests.values())


def test_published_rows_stand_beside_their_own_sets_only(tmp_path, checkpoint):
    config = build_config(systems=("k-mer", "one-hot"))
    task = SpliceTask("acceptor")
    task.published = tuple(
        PublishedScore(system="a paper", part=part, metric="F1", value=0.5, source="made up")
        for part in ("Danio", "Thaliana", "Mars")
    )
    ours, theirs = (
        evaluate_sequence_task(task, checkpoint, config, data=data, out=tmp_path / "out")
        for data in (
            write_splice(tmp_path / "ours"),
            write_published_splice(tmp_path / "theirs", num=12),
        )
    )
    assert not ours.published
    assert {row.part for row in theirs.published} == {"Danio", "Thaliana"}
    assert not theirs.gains
    assert ours.signature != theirs.signature
    assert "|precision:fp32|bs:" in ours.signature
    assert "|numbers:3|" in ours.signature
    (name,) = (name for name in ours.sources if name.startswith("human_arabidopsis"))
    assert ours.sources[name] == hash_file(next((tmp_path / "ours").rglob(name)))
    # Of a draw nothing is published.
    fewer = build_config(systems=("k-mer",), max_test=5)
    drawn = evaluate_sequence_task(
        task, checkpoint, fewer, data=tmp_path / "theirs", out=tmp_path / "out"
    )
    assert not drawn.published


def test_a_signature_does_not_say_which_regimes_were_run(tmp_path, checkpoint):
    data = write_rfam(tmp_path / "data")
    task = ClassificationTask("rfam-type")
    signatures = {
        evaluate_sequence_task(
            *(task, checkpoint, build_config(**changes)), data=data, out=tmp_path / "out"
        ).signature
        for changes in (
            {"systems": ("pretrained",), "regimes": ("linear",)},
            {"systems": ("k-mer",), "regimes": ("linear",)},
            {"systems": ("pretrained",), "regimes": ("linear", "frozen")},
        )
    }
    assert len(signatures) == 1


def test_files_of_one_name_are_told_apart(tmp_path):
    paths = [tmp_path / "a" / "x.tsv", tmp_path / "b" / "x.tsv", tmp_path / "y.tsv"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(path))
    sources = hash_each(paths)
    assert list(sources) == [str(paths[0]), str(paths[1]), "y.tsv"]
    one = TaskData(name="", sources={"y.tsv": sources["y.tsv"]}, examples=[])
    assert one.sha256 == sources["y.tsv"] == hash_file(paths[2])
    assert TaskData(name="", sources=sources, examples=[]).sha256 not in sources.values()


def test_a_sequence_has_the_rows_it_has_alone(tmp_path, checkpoint):
    generator = np.random.default_rng(0)
    sequences = {
        index: draw_sequence(generator, length)
        for index, length in zip((7, 3, 11, 5), (1, 30, 9, 30), strict=True)
    }
    cpu = torch.device("cpu")
    packed = write_rows(
        checkpoint.encoder,
        sequences,
        ["cls", "mean", "specials"],
        EmbedConfig(max_tokens_per_pack=40),
        folder=tmp_path,
        device=cpu,
    )
    for index, sequence in sequences.items():
        for kind, rows in packed.items():
            alone = embed_sequences(
                checkpoint.encoder, [sequence], EmbedConfig(), device=cpu, reads=kind
            )
            np.testing.assert_allclose(rows.rows_TD[rows.spans[index]], alone, atol=1e-5)


def test_an_output_is_what_the_sequence_has_alone(tmp_path, checkpoint):
    task = RibosomeLoadTask()
    data = task.read(write_loads(tmp_path))
    indices = list(range(0, 100, 7))
    sequences = {index: data.examples[index].sequence for index in indices}
    cpu = torch.device("cpu")
    rows = write_rows(
        checkpoint.encoder, sequences, ["specials"], EmbedConfig(), folder=tmp_path, device=cpu
    )
    model = TaskModel(task.build_head(8, data).eval(), FrozenRows(rows["specials"], cpu))
    lengths = {index: len(sequence) for index, sequence in sequences.items()}
    packed, alone = (
        predict(model, indices, lengths, max_tokens_per_pack=tokens) for tokens in (8192, 1)
    )
    np.testing.assert_allclose(packed, alone, atol=1e-5)
    assert np.ptp(alone) > 0


def test_standardised_targets_come_back_in_their_units(tmp_path):
    weights = write_checkpoint(tmp_path / "weights")
    settings = build_config(systems=("k-mer",), kmer_nt=3)
    data = write_loads(tmp_path / "data", num=300)
    report = evaluate_sequence_task(
        RibosomeLoadTask(), load_checkpoint(weights), settings, data=data, out=tmp_path / "out"
    )
    scores = {s.metric: s.value for s in report.scores if s.part == "Random7600"}
    # Loads are 4 or 7 by an AUG, which 3-mers show: far better than the mean load.
    assert scores["R2"] > 0.3
    assert scores["MAE"] < 1.5


def test_runs_are_kept_whole(tmp_path):
    run = SequenceRun(
        key="abc",
        system="random encoder",
        regime="frozen",
        split="random",
        outputs={"a b": np.ones((2, 3), np.float32), "c": np.zeros((1, 3), np.float32)},
        facts={"seconds": 0.5},
    )
    path = save_run(run, tmp_path)
    found = load_run(tmp_path, "random encoder", "frozen", "random", "abc")
    assert found is not None
    assert found.facts == run.facts
    for name, outputs in run.outputs.items():
        np.testing.assert_array_equal(found.outputs[name], outputs)
    assert load_run(tmp_path, "random encoder", "frozen", "random", "abd") is None
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="delete it and run again"):
        load_run(tmp_path, "random encoder", "frozen", "random", "abc")


def test_an_empty_part_and_a_missing_gpu_are_refused(tmp_path, checkpoint):
    data = write_rfam(tmp_path / "data", num_families=10)
    task = ClassificationTask("rfam-type")

    def split(data, *, seed):
        return [dataclasses.replace(ClassificationTask.split(task, data, seed=seed)[0], train=())]

    task.split = split
    with pytest.raises(ValueError, match="split random has no sequence in train"):
        evaluate_sequence_task(task, checkpoint, build_config(), data=data, out=tmp_path / "out")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device=cuda but"):
            evaluate_sequence_task(
                ClassificationTask("rfam-type"),
                checkpoint,
                build_config(device="cuda"),
                data=data,
                out=tmp_path / "out",
            )
