"""The engine on CPU ranks: initial weights, skipped steps, restoring, precision."""

from dataclasses import replace

import pytest
import torch

from openrinalmo.kernels import reference
from openrinalmo.model.encoder import EncoderConfig
from openrinalmo.model.masked_lm import MaskedLM
from openrinalmo.pipeline.pretraining.engine_init import find_shapes, iter_initial_weights
from support.engine_cases import MODEL, case, make_pack, run_cases, step, train_plain, zero

OFFLOAD = {"offload_optimizer": {"device": "cpu"}}
FP32_SUMS = {"data_types": {"grad_accum_dtype": "fp32"}}
EXACT = {f"stage {stage}": zero(stage) for stage in (1, 2, 3)}
LOW = {
    "stage 1 bf16": zero(1, bf16=True),
    "stage 2 offload bf16": zero(2, bf16=True, **OFFLOAD) | FP32_SUMS,
    "stage 3 offload bf16": zero(3, bf16=True, **OFFLOAD) | FP32_SUMS,
}
KINDS = EXACT | LOW
PARAMETERS = [*EXACT, *(pytest.param(name, marks=pytest.mark.slow) for name in LOW)]
DROPOUT = {"attention_dropout": 0.1, "residual_dropout": 0.1}
CLASSES = {
    "embedding": "encoder.embedding.weight",
    "qkv": "encoder.blocks.2.attention.qkv.weight",
    "attention out": "encoder.blocks.0.attention.out.weight",
    "gate and up": "encoder.blocks.1.feed_forward.activated_and_gate",
    "gate and up bias": "encoder.blocks.1.feed_forward.activated_and_gate_bias",
    "down": "encoder.blocks.2.feed_forward.out",
    "down bias": "encoder.blocks.2.feed_forward.out_bias",
    "beta": "encoder.blocks.2.feed_forward.beta",
    "norm weight": "encoder.blocks.1.attention_norm.weight",
    "norm bias": "encoder.final_norm.bias",
    "head dense": "head.dense.weight",
    "head dense bias": "head.dense.bias",
    "head norm": "head.norm.weight",
    "head out": "head.out.weight",
}
FFN_DIM, STORED = 80, 128


def take_over(path):
    return {"restore": str(path), "state": "final", "updates": 2}


def build_cases(folder, name):
    """Straight on; with batches skipped and poisoned; rolled back from elsewhere."""
    two, settings = [step(0), step(1)], KINDS[name]
    poisoned = [step(7, skip=True), step(1), step(8, nan=1), step(9, nan=2)]
    back = [step(0), step(8), take_over(folder / f"{name} two.pt"), step(2)]
    return [
        case(f"{name} two", settings, two, model=DROPOUT),
        case(f"{name} straight", settings, [*two, step(2)], model=DROPOUT),
        case(f"{name} skipping", settings, [step(0), *poisoned, step(2)], model=DROPOUT),
        case(f"{name} back", settings, back, model=DROPOUT),
    ]


@pytest.fixture(scope="module")
def stored_alone(tmp_path_factory):
    """Two steps at stage 1 on one rank, and fresh engines there."""
    folder = tmp_path_factory.mktemp("alone")
    cases = [
        case("stored", zero(1), [step(0), step(1)]),
        case("fresh 1", zero(1), []),
        case("fresh 3 bf16", zero(3, bf16=True), []),
        *build_cases(folder, "stage 3"),
    ]
    return folder, run_cases(folder, cases, num_ranks=1)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, stored_alone):
    folder = tmp_path_factory.mktemp("two")
    cases = [item for name in EXACT for item in build_cases(folder, name)]
    taken = [take_over(stored_alone[0] / "stored.pt"), step(2)]
    cases += [
        case("stored", zero(3), [step(0), step(1)]),
        case("fresh 1", zero(1), []),
        case("fresh 3 bf16", zero(3, bf16=True), []),
        # Sequences of 301: past the 256 positions that a table in bf16 could tell apart.
        case("rotary", zero(3, bf16=True), [step(0)], rotary=True),
        *(case(f"taken by {stage}", zero(stage), taken) for stage in (2, 3)),
    ]
    return folder, run_cases(folder, cases, num_ranks=2)


@pytest.fixture(scope="module")
def low(tmp_path_factory):
    """Two ranks in bf16, moments on the host for some."""
    folder = tmp_path_factory.mktemp("low")
    cases = [item for name in LOW for item in build_cases(folder, name)]
    return folder, run_cases(folder, cases, num_ranks=2)


@pytest.fixture
def runs_of(request):
    return lambda name: request.getfixturevalue("low" if name in LOW else "two_ranks")[1]


@pytest.fixture(scope="module")
def taken_alone(tmp_path_factory, two_ranks):
    folder = tmp_path_factory.mktemp("taken")
    taken = [take_over(two_ranks[0] / "stored.pt"), step(2)]
    return run_cases(folder, [case("taken by 1", zero(1), taken)], num_ranks=1)


@pytest.fixture(params=["1 rank", "2 ranks"])
def runs(request):
    name = {"1 rank": "stored_alone", "2 ranks": "two_ranks"}[request.param]
    return request.getfixturevalue(name)[1]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].keys() == b[name].keys()
        for kind in a[name]:
            assert torch.equal(a[name][kind], b[name][kind]), (name, kind)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("stage", ["1", "3 bf16"])
def test_initial_weights_are_those_of_the_unsharded_model(runs, stage, kind):
    torch.manual_seed(5)
    expected = dict(MaskedLM(EncoderConfig(**MODEL)).named_parameters())[CLASSES[kind]]
    initial = runs[f"fresh {stage}"]["initial"][CLASSES[kind]]
    assert torch.equal(initial["weight"], expected)
    assert not initial["exp_avg"].any()
    assert not initial["exp_avg_sq"].any()


def test_padding_of_the_feed_forward_and_of_the_embedding_starts_and_stays_zero(runs):
    for run in (runs["fresh 3 bf16"]["initial"], runs["stage 3 straight"]["final"]):
        assert not run[CLASSES["embedding"]]["weight"][1].any()
        gate = run[CLASSES["gate and up"]]["weight"].view(2, STORED, -1)
        down = run[CLASSES["down"]]["weight"]
        assert not gate[:, FFN_DIM:].any()
        assert not down[:, FFN_DIM:].any()
        assert gate[:, :FFN_DIM].all()
        assert down[:, :FFN_DIM].all()


def test_forward_uses_the_initial_weights_in_the_settings_precision(runs):
    pack = make_pack(99)
    torch.manual_seed(5)
    model = MaskedLM(EncoderConfig(**MODEL)).eval()
    arguments = (pack.ids_T, pack.cu_seqlens, pack.max_seqlen)
    rows = {"predicted_rows_M": pack.predicted_rows_M}
    with torch.no_grad():
        exact = model(*arguments, **rows).logits_TV
        rounded = model.bfloat16()(*arguments, **rows).logits_TV.float()
    torch.testing.assert_close(runs["fresh 1"]["logits"], exact, atol=1e-6, rtol=1e-5)
    assert torch.equal(runs["fresh 3 bf16"]["logits"], rounded)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_skipped_step_leaves_no_trace(runs_of, name):
    straight, skipping = (runs_of(name)[f"{name} {end}"] for end in ("straight", "skipping"))
    assert skipping["applied"] == [True, False, True, False, False, True]
    norms = skipping["norms"]
    assert [norms[i] for i in (0, 2, 5)] == straight["norms"]
    assert all(not torch.isfinite(torch.tensor(norms[i])) for i in (1, 3, 4))
    assert_same(straight["final"], skipping["final"])
    assert torch.equal(straight["logits"], skipping["logits"])


def test_a_skipped_step_leaves_no_trace_on_one_rank(stored_alone):
    runs = stored_alone[1]
    assert_same(runs["stage 3 straight"]["final"], runs["stage 3 skipping"]["final"])


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_roll_back_in_mid_run_is_exact(runs_of, name):
    runs = runs_of(name)
    back = runs[f"{name} back"]
    assert_same(back["restored"], runs[f"{name} two"]["final"])
    assert_same(back["final"], runs[f"{name} straight"]["final"])
    assert torch.equal(back["logits"], runs[f"{name} straight"]["logits"])


@pytest.mark.parametrize("stage", [2, 3])
def test_what_one_rank_stored_at_stage_1_two_take_over(stored_alone, two_ranks, stage):
    assert_taken_over(stored_alone[1]["stored"], two_ranks[1][f"taken by {stage}"])


def test_what_two_ranks_stored_at_stage_3_one_takes_over_at_stage_1(two_ranks, taken_alone):
    assert_taken_over(two_ranks[1]["stored"], taken_alone["taken by 1"])


def assert_taken_over(stored, taken):
    plain = train_plain(case("plain", {}, [step(0), step(1), step(2)]))
    assert_same(taken["restored"], stored["final"])
    assert taken["losses"] == pytest.approx(plain["losses"][2:], rel=1e-5)
    for name, weight in plain["final"].items():
        torch.testing.assert_close(taken["final"][name]["weight"], weight, atol=2e-5, rtol=1e-4)


def test_rotary_tables_stay_in_fp32_where_all_else_is_bf16(two_ranks):
    run = two_ranks[1]["rotary"]
    pack = make_pack(99)
    assert pack.max_seqlen == 301
    positions = torch.cat([torch.arange(int(n)) for n in pack.cu_seqlens.diff()])
    assert run["block_dtype"] == "torch.bfloat16"
    for table, expected in zip(run["rotary"], reference.rotary_tables(positions, 10), strict=True):
        assert table.dtype == torch.float32
        assert torch.equal(table, expected)
        assert not torch.equal(table, table.bfloat16().float())


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_weights_drawn_in_parts_are_the_model_s(num_blocks):
    config = replace(EncoderConfig(**MODEL), num_blocks=num_blocks, ffn_dim=37)
    torch.manual_seed(11)
    expected = dict(MaskedLM(config).named_parameters())
    before = torch.get_rng_state()
    drawn = {}
    for name, value in iter_initial_weights(config, 11):
        torch.rand(3)  # a caller's own draws change nothing
        drawn[name] = value
    assert drawn.keys() == expected.keys() == find_shapes(config).keys()
    assert all(torch.equal(drawn[name], expected[name]) for name in expected)
    torch.set_rng_state(before)
    list(iter_initial_weights(config, 11))
    assert torch.equal(torch.get_rng_state(), before)
