"""Plans: against a roofline worked out elsewhere, by hand, and as a user starts the script."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from openrinalmo.data_prep.shards import open_split
from openrinalmo.model.encoder import build_encoder_config
from openrinalmo.pipeline.overrides import apply_overrides
from openrinalmo.pipeline.pretraining.batches import PackStream
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.planning.hardware import find_gpu
from openrinalmo.pipeline.pretraining.planning.length_mix import DEFAULT_MIX, read_length_mix
from openrinalmo.pipeline.pretraining.planning.plan import Plan, build_plan
from openrinalmo.pipeline.pretraining.planning.plan_stages import Machine
from openrinalmo.pipeline.pretraining.planning.speed import (
    Pack,
    count_traffic,
    find_measured,
    roofline_seconds,
)
from openrinalmo.pipeline.pretraining.presets import PRESETS
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from support.corpora import make_corpus
from support.launch import ROOT, run_script
from support.typed_corpora import make_typed_corpus

COLUMNS = ("date", "commit", "device", "bench", "case", "provider", "metric", "value")


def plan(*settings: str, gpu: str = "h100", ranks: int = 8, results: Path | None = None) -> Plan:
    config = apply_overrides(PRESETS["giga"](), ["data=nowhere", *settings])
    machine = Machine(gpu=find_gpu(gpu), ranks=ranks, price_per_gpu_hour=2.0)
    return build_plan(config, machine, preset="giga", results=results)


@pytest.mark.parametrize(("gpu", "tokens_per_second"), [("h100", 105e3), ("a100", 44.5e3)])
def test_the_roofline_is_the_one_worked_out_by_hand(gpu, tokens_per_second):
    """Conservative figures for 651 M at a context of 700 tokens, from another derivation."""
    pack = Pack(32_768, 32_768 * 700, 4_915)
    seconds = roofline_seconds(build_encoder_config("giga"), pack, find_gpu(gpu))
    assert pack.num_tokens / seconds == pytest.approx(tokens_per_second, rel=0.03)


def test_recomputing_and_longer_sequences_take_longer():
    giga, h100 = build_encoder_config("giga"), find_gpu("h100")
    short, long = Pack(32_768, 32_768 * 100, 4_915), Pack(32_768, 32_768 * 1_000, 4_915)
    plain = roofline_seconds(giga, short, h100)
    assert roofline_seconds(giga, long, h100) > plain
    every = roofline_seconds(giga, short, h100, recompute_every_blocks=1)
    assert 1.2 * plain < every < 4 / 3 * plain


@pytest.mark.parametrize(
    ("zero", "hidden", "exposed"),
    [
        ({"stage": 1}, 2 * 2, 2),  # one all-reduce a step, then the new weights
        ({"stage": 2}, 3 * 2 * 2, 2),
        ({"stage": 2, "use_multi_rank_bucket_allreduce": False}, 3 * 2, 2),
        ({"stage": 3, "stage3_max_live_parameters": 2_000_000}, 3 * (0.9 + 1) * 2, 0.2),
        ({"stage": 3, "stage3_max_live_parameters": 10_000}, 3 * (1.8 + 1) * 2, 0.2),
    ],
)
def test_traffic_of_three_micro_steps_on_four_ranks(zero, hidden, exposed):
    settings = {"bf16": {"enabled": True}, "zero_optimization": zero}
    traffic = count_traffic(
        settings, parameters=1_000_000, persistent=100_000, micro_steps=3, world_size=4
    )
    assert traffic.hidden == pytest.approx(hidden * 1e6 * 3 / 4)
    assert traffic.exposed == pytest.approx(exposed * 1e6 * 3 / 4)
    alone = count_traffic(
        settings, parameters=1_000_000, persistent=100_000, micro_steps=3, world_size=1
    )
    assert alone == (0, 0)


def test_parameters_are_the_published_ones():
    assert plan().parameters / 1e6 == pytest.approx(650.9, abs=0.1)


def test_all_shipped_gpu_settings_are_compared_and_a_file_of_ones_own(tmp_path):
    shipped = {stage.name for stage in plan().stages}
    expected = {path.stem for path in (ROOT / "ds_configs").glob("*.json")} - {"cpu"}
    assert shipped == expected
    own = tmp_path / "mine.json"
    own.write_text('{"bf16": {"enabled": true}, "zero_optimization": {"stage": 2}}')
    assert {stage.name for stage in plan(f"engine={own}").stages} == {*expected, "mine"}


def test_what_does_not_fit_is_not_suggested_and_the_cure_fits():
    small = plan(gpu="rtx4090")
    assert small.suggested is None
    assert "nothing fits: lower batches.micro_batch_tokens from 40,960 to" in small.reason
    largest = max(stage.largest_pack_tokens for stage in small.stages)
    tokens = (f"batches.micro_batch_tokens={largest}", f"batches.global_batch_tokens={largest * 8}")
    cured = plan(*tokens, gpu="rtx4090")
    assert cured.suggested is not None


def test_time_and_cost_follow_from_the_step():
    planned = plan("steps=1000")
    assert planned.suggested is not None
    figures = planned.as_json()
    assert figures["run_seconds"] == pytest.approx(1000 * planned.suggested.step_seconds)
    assert figures["run_cost"] == pytest.approx(figures["run_seconds"] / 3600 * 8 * 2.0)
    assert planned.corpus_steps == pytest.approx(36e6 * 6 * 419.3 / planned.tokens_per_step, abs=1)
    json.dumps(figures)


def test_ranks_without_a_pack_are_warned_of_with_a_cure_that_helps():
    (warning,) = [w for w in plan(ranks=64).warnings if "packs a step" in w]
    assert "16 packs a step on 64 ranks: 75% of the computing repeats" in warning
    assert "batches.micro_batch_tokens=10240" in warning
    cured = plan("batches.micro_batch_tokens=10240", ranks=64)
    assert not [w for w in cured.warnings if "packs a step" in w]
    (odd,) = [w for w in plan(ranks=24).warnings if "packs a step" in w]
    assert "batches.global_batch_tokens=983040" in odd


def write_rows(path: Path, *rows: tuple) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, *rows])
    return path


def test_measured_rows_of_this_gpu_and_preset_are_used_and_named(tmp_path):
    h100, case = "NVIDIA H100 80GB HBM3", "giga-32k-rnacentral"
    results = write_rows(
        tmp_path / "results.csv",
        ("2026-01-02", "abc1234", h100, "step", case, "padded", "mfu", "0.11"),
        ("2026-01-02", "abc1234", h100, "step", case, "zero3", "mfu", "0.47"),
        ("2026-01-02", "abc1234", h100, "step", "micro-8k-short", "zero3", "mfu", "0.9"),
        ("2026-01-02", "abc1234", "NVIDIA H200", "step", case, "zero3", "mfu", "0.8"),
        ("2026-01-02", "abc1234", "x86_64 CPU", "step", case, "zero3", "mfu", "0.7"),
        ("2026-01-02", "abc1234", h100, "step", case, "zero3", "peak_gb", "70"),
    )
    planned = plan(results=results)
    assert planned.utilisation.mfu == 0.47
    assert planned.utilisation.source.startswith(f"measured: {h100}, {case}, zero3, 2026-01-02")
    assert not [w for w in planned.warnings if "assumed" in w]
    assert plan(gpu="a100", results=results).utilisation.is_measured is False
    assert find_measured(tmp_path / "absent.csv", find_gpu("h100"), "giga") is None


def test_lengths_are_the_corpus_own_where_there_is_one(tmp_path):
    folder = make_corpus(tmp_path)
    mix = read_length_mix(folder, SamplingConfig(max_length_nt=90))
    assert mix.sequences == 30
    assert 20 < mix.tokens_per_sequence < mix.context_per_token < 92
    assert read_length_mix(tmp_path / "nowhere", SamplingConfig()) == DEFAULT_MIX


def test_lengths_are_those_that_an_epoch_shows_under_weights(tmp_path):
    folder = make_typed_corpus(tmp_path)
    sampling = SamplingConfig(max_length_nt=90, type_temperature=0.0, type_caps="rRNA=0.3")
    stream = PackStream(
        open_split(folder, "train"),
        pack_tokens=400,
        sampling=sampling,
        masking=MaskingConfig(),
        seed=0,
    )
    tokens = [
        int(n)
        for number in range(stream.epochs.first_pack(200))
        for n in stream.samples(number).num_tokens
    ]
    mix = read_length_mix(folder, sampling)
    assert mix.sequences == len(tokens) / 200
    assert mix.tokens_per_sequence == pytest.approx(np.mean(tokens), rel=0.005)
    seen = np.square(tokens).sum() / np.sum(tokens)
    assert mix.context_per_token == pytest.approx(seen, rel=0.005)
    even = read_length_mix(folder, SamplingConfig(max_length_nt=90))
    assert mix.tokens_per_sequence < 0.8 * even.tokens_per_sequence


def test_the_default_lengths_are_those_of_the_committed_mix():
    with (ROOT / "benchmarks" / "length_mixes.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mix"] == "rnacentral"]
    pairs = [(int(row["num_tokens"]), int(row["sequences"])) for row in rows]
    tokens = sum(n * count for n, count in pairs)
    squares = sum(n * n * count for n, count in pairs)
    mean = tokens / sum(count for _, count in pairs)
    assert DEFAULT_MIX[1:3] == pytest.approx((mean, squares / tokens), abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gpu", "h101"), "did you mean 'h100'?"),
        (("--gpu", "h100", "--ranks", "12"), "must fill machines of --ranks-per-node 8"),
        (("--gpu", "h100", "--ranks", "0"), "--ranks and --ranks-per-node must be positive"),
        (("--gpu", "v100"), "v100 has no bf16"),
        (("--gpu", "h100", "steps=0"), "steps must be 1 or more"),
        (("--gpu", "h100", "engine=mine.json"), "mine.json"),
    ],
)
def test_impossible_plans_are_refused(arguments, message):
    done = run_script("pipeline/plan.py", "--preset", "giga", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_prints_a_table_and_the_same_as_json():
    settings = ("--preset", "giga", "--gpu", "h100", "--ranks", "8", "data=nowhere")
    table = run_script("pipeline/plan.py", *settings, "--price-per-gpu-hour", "2.5")
    assert table.returncode == 0, table.stderr
    for part in ("650.90 M parameters", "zero3_offload", "engine=", "36 M sequences x 6", "price"):
        assert part in table.stdout
    figures = json.loads(run_script("pipeline/plan.py", *settings, "--json").stdout)
    assert {stage["name"] for stage in figures["stages"]} >= {"zero1", "zero2", "zero3"}
    assert figures["run_cost"] is None
