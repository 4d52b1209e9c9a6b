"""What each regime trains, by which update, on which loss; everything else stays as it was."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from openrinalmo.pipeline.downstream.fitting.lora import LoraConfig, find_adapters
from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.fitting.regimes import fit
from openrinalmo.pipeline.downstream.fitting.task_model import TaskModel, predict
from openrinalmo.pipeline.downstream.fitting.unfreezing import UnfreezingConfig
from openrinalmo.pipeline.downstream.representations.embed import (
    EmbedConfig,
    Representations,
    embed_sequences,
)
from openrinalmo.pipeline.downstream.representations.row_readers import EncoderRows, FrozenRows
from support.regimes import (
    CPU,
    LENGTHS,
    SEQUENCES,
    TARGETS,
    MeanHead,
    build_encoder,
    build_model,
    squared_error,
)

EVERYONE = list(LENGTHS)
LORA = LoraConfig(rank=2, every=2, dropout=0.1)
STRUCTURE = UnfreezingConfig(schedule="structure", every_epochs=1)


def build_config(regime, **changes):
    settings = {"epochs": 2, "batch_sequences": 3, "peak_lr": 1e-2, "lora": LORA}
    return RegimeConfig(regime=regime, **{**settings, **changes})


def run_fit(model, config, tmp_path, *, key="fit", train=EVERYONE, validate=None):
    return fit(
        model,
        train,
        LENGTHS,
        squared_error,
        config,
        folder=tmp_path,
        key=key,
        device=CPU,
        validate=validate,
    )


def encoder_of(model):
    assert model.encoder is not None
    return model.encoder


def weights_of(module):
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return {name for name, value in module.state_dict().items() if not value.equal(before[name])}


@pytest.mark.parametrize("regime", ["frozen", "linear", "lora", "full"])
def test_a_regime_changes_what_it_trains_and_not_one_bit_more(regime, tmp_path):
    model = build_model(build_config(regime))
    before = weights_of(model)
    log = run_fit(model, build_config(regime), tmp_path)
    expected = {"head.linear.weight", "head.linear.bias"}
    if regime == "lora":
        expected |= {f"encoder.{name}" for name in find_adapters(encoder_of(model))}
    if regime == "full":
        expected |= {name for name in before if name.startswith("encoder.")}
        expected.remove("encoder.embedding.weight")
    assert changed(model, before) == expected
    assert log.num_trained == sum(
        value.numel() for name, value in model.named_parameters() if name in expected
    )
    assert log.step == len(log.losses) == 6
    assert not model.training


def test_blocks_unfreeze_from_the_top_when_their_epoch_comes(tmp_path):
    # Bounds of 4 blocks in elevenths: 3, 3, 2, 2, 2, 1, 1, 1.
    for epochs, first in ((2, 3), (3, 3), (4, 2), (6, 2), (7, 1), (12, 1)):
        config = build_config("full", epochs=epochs, unfreezing=STRUCTURE)
        model = build_model(config)
        before = weights_of(model)
        run_fit(model, config, tmp_path, key=str(epochs))
        moved = {name.split(".")[2] for name in changed(model, before) if ".blocks." in name}
        assert moved == {str(block) for block in range(first, 4)}
        assert "encoder.final_norm.weight" in changed(model, before)
        assert "encoder.embedding.weight" not in changed(model, before)


def test_a_step_equals_a_handwritten_one(tmp_path):
    """One AdamW update of head and encoder on three examples, gradients clipped."""
    config = RegimeConfig(
        regime="full",
        epochs=1,
        batch_sequences=0,
        batch_tokens=1000,
        optimizer="adamw",
        peak_lr=1e-2,
        weight_decay=0.1,
        max_grad_norm=0.5,
    )
    encoder = build_encoder(dropout=0.0)
    model = build_model(config, encoder=encoder)
    log = run_fit(model, config, tmp_path, train=[0, 2, 5])

    twin = copy.deepcopy(encoder)
    reader = EncoderRows(twin, SEQUENCES, reads="tokens", device=CPU)
    by_hand = TaskModel(MeanHead(), reader, encoder=twin)
    twin.embedding.requires_grad_(False)
    parameters = [one for one in by_hand.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    outputs = torch.stack([by_hand([index])[0, 0] for index in (0, 2, 5)])
    loss = ((outputs - TARGETS[[0, 2, 5]]) ** 2).mean()
    loss.backward()
    gradients = [one.grad for one in parameters if one.grad is not None]
    assert len(gradients) == len(parameters)
    norm = torch.stack([one.norm() for one in gradients]).norm()
    assert norm > 0.5
    for one in gradients:
        one.mul_(0.5 / norm)
    optimizer.step()
    assert log.losses == pytest.approx([loss.item()], rel=1e-5)
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=2e-5)


def test_learning_rates_fall_together_and_new_groups_follow_the_head(tmp_path):
    """SGD would show the rate in the update; Adam's first update is the rate itself."""
    config = build_config("full", epochs=2, batch_sequences=7, peak_lr=1e-3, unfreezing=STRUCTURE)
    model = build_model(config, encoder=build_encoder(dropout=0.0))
    before = weights_of(model)
    run_fit(model, config, tmp_path)
    # Step 1 of 2: the head's rate is 1e-3 * (1 - 0.9 / 2), the norm's a tenth of it.
    moved = (encoder_of(model).final_norm.bias - before["encoder.final_norm.bias"]).abs()
    torch.testing.assert_close(moved, torch.full((8,), 1e-3 * 0.55 * 0.1), rtol=1e-2, atol=0)


def test_lr_share_is_linear_then_constant():
    config = RegimeConfig(decay_steps=4, final_lr_ratio=0.2)
    shares = [config.compute_lr_share(step, 100) for step in range(7)]
    assert shares == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2])
    head = torch.nn.Linear(1, 1)
    optimizer = torch.optim.Adam(head.parameters(), lr=1.0)
    theirs = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.2, total_iters=4)
    for share in shares:
        assert optimizer.param_groups[0]["lr"] == pytest.approx(share)
        optimizer.step()
        theirs.step()
    constant = RegimeConfig(lr_schedule="constant")
    assert {constant.compute_lr_share(step, 9) for step in range(9)} == {1.0}
    assert RegimeConfig().compute_lr_share(3, 6) == pytest.approx(0.55)


@pytest.mark.parametrize("regime", ["frozen", "lora", "full"])
def test_packs_do_not_change_loss_or_update(regime, tmp_path):
    fitted = []
    for max_tokens in (1, 20, 8192):
        config = build_config(
            regime,
            batch_sequences=5,
            max_tokens_per_pack=max_tokens,
            lora=LoraConfig(rank=2, every=2),
        )
        model = build_model(config, encoder=build_encoder(dropout=0.0))
        log = run_fit(model, config, tmp_path, key=str(max_tokens))
        fitted.append((log.losses, torch.cat([one.flatten() for one in model.head.parameters()])))
    for losses, head in fitted[1:]:
        assert losses == pytest.approx(fitted[0][0], rel=1e-4)
        torch.testing.assert_close(head, fitted[0][1], rtol=0, atol=1e-4)


def test_rows_computed_once_give_the_fit_of_rows_computed_each_time(tmp_path):
    encoder = build_encoder()
    rows_TD = embed_sequences(encoder, SEQUENCES, EmbedConfig(), device=CPU)
    ends = np.cumsum(list(LENGTHS.values())).tolist()
    spans = {i: slice(end - LENGTHS[i], end) for i, end in enumerate(ends)}
    computed = Representations(rows_TD=rows_TD, spans=spans)
    fitted = []
    for key, representations in (("once", computed), ("each", None)):
        config = build_config(
            "full", epochs=4, unfreezing=UnfreezingConfig(schedule="ribosome-load", every_epochs=2)
        )
        model = build_model(config, encoder=encoder, representations=representations)
        assert isinstance(model.reader, FrozenRows) == (representations is not None)
        log = run_fit(model, config, tmp_path, key=key)
        assert isinstance(model.reader, EncoderRows)
        fitted.append((log.losses, predict(model, EVERYONE, LENGTHS)))
    np.testing.assert_allclose(fitted[0][0], fitted[1][0], rtol=1e-4)
    np.testing.assert_allclose(fitted[0][1], fitted[1][1], atol=1e-4)


def test_predictions_do_not_depend_on_packs_and_come_in_order():
    model = build_model(build_config("frozen"), head_dropout=0.5).train()
    alone = np.concatenate([predict(model, [index], LENGTHS) for index in (4, 0, 2)])
    for max_tokens in (1, 15, 8192):
        together = predict(model, [4, 0, 2], LENGTHS, max_tokens_per_pack=max_tokens)
        np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("regime", ["frozen", "lora", "full"])
def test_a_seed_decides_everything_and_global_random_state_is_untouched(regime, tmp_path):
    logs = []
    for number, seed in enumerate((0, 0, 1)):
        config = build_config(regime, seed=seed)
        model = build_model(config, head_dropout=0.3)
        torch.manual_seed(number)
        before = torch.get_rng_state()
        logs.append(run_fit(model, config, tmp_path, key=str(number)))
        assert torch.equal(torch.get_rng_state(), before)
    assert logs[0].losses == logs[1].losses
    assert logs[0].losses != logs[2].losses


def test_every_step_draws_anew_and_every_fit_the_same(tmp_path):
    drawn = []

    def compute_loss(model, indices):
        drawn.append(torch.rand(()).item())
        return squared_error(model, indices)

    config = build_config("frozen", max_tokens_per_pack=1)
    for key in ("one", "other"):
        model = build_model(config)
        fit(model, EVERYONE, LENGTHS, compute_loss, config, folder=tmp_path, key=key, device=CPU)
    once, again = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    assert once == again
    assert len(set(once)) == len(once) == 2 * len(EVERYONE)


def test_dropout_is_the_encoders_own_and_only_where_it_trains(tmp_path):
    first_losses = {}
    for regime in ("frozen", "lora", "full"):
        for dropout in (0.0, 0.5):
            config = build_config(regime, epochs=1, batch_sequences=7, lora=LoraConfig(every=2))
            model = build_model(config, encoder=build_encoder(dropout=dropout))
            key = f"{regime}{dropout}"
            first_losses[key] = run_fit(model, config, tmp_path, key=key).losses[0]
    assert first_losses["frozen0.0"] == first_losses["frozen0.5"]
    assert first_losses["lora0.0"] == pytest.approx(first_losses["frozen0.0"], rel=1e-5)
    assert first_losses["lora0.5"] != pytest.approx(first_losses["frozen0.0"], rel=1e-3)
    assert first_losses["full0.5"] != pytest.approx(first_losses["frozen0.0"], rel=1e-3)


def test_a_frozen_encoder_is_frozen_whatever_it_came_with(tmp_path):
    losses = []
    for key, dropout in (("without", 0.0), ("with", 0.5)):
        model = build_model(build_config("frozen"), encoder=build_encoder(dropout=dropout))
        encoder_of(model).requires_grad_(True)
        losses.append(run_fit(model, build_config("frozen"), tmp_path, key=key).losses)
        assert not model.encoder_trains
        assert all(one.grad is None for one in encoder_of(model).parameters())
    assert losses[0] == losses[1]


def test_best_validation_keeps_the_first_best_and_last_keeps_the_last(tmp_path):
    script = [0.1, 0.7, 0.7, 0.2]
    for choose, kept in (("last", 3), ("best-validation", 1)):
        seen = []
        config = build_config(
            "full", epochs=4, choose=choose, unfreezing=STRUCTURE, batch_sequences=7
        )

        def validate(model, states=seen):
            assert not model.training
            assert not torch.is_grad_enabled()
            states.append(weights_of(model))
            return script[len(states) - 1]

        model = build_model(config)
        log = run_fit(model, config, tmp_path, key=choose, validate=validate)
        assert log.validation == ((1, 0.1), (2, 0.7), (3, 0.7), (4, 0.2))
        assert log.step == kept + 1
        assert not changed(model, seen[kept])
        assert changed(model, seen[2])


def test_steps_end_at_max_steps_and_the_last_is_validated(tmp_path):
    config = build_config("frozen", epochs=9, max_steps=4, validate_every_epochs=3)
    log = run_fit(build_model(config), config, tmp_path, validate=lambda model: 1.0)
    assert len(log.losses) == 4
    assert log.validation == ((4, 1.0),)


def test_a_fit_learns(tmp_path):
    start = {}
    for regime in ("frozen", "lora", "full"):
        config = build_config(regime, epochs=40, batch_sequences=7, peak_lr=2e-2)
        model = build_model(config, encoder=build_encoder(dropout=0.0))
        losses = run_fit(model, config, tmp_path, key=regime).losses
        start[regime] = losses[-1] / losses[0]
    assert start["frozen"] < 0.5
    assert max(start["lora"], start["full"]) < 0.1


def test_what_cannot_be_fitted_is_refused(tmp_path):
    config = build_config("frozen")
    with pytest.raises(ValueError, match="training set is empty"):
        run_fit(build_model(config), config, tmp_path, train=[])
    best = build_config("frozen", choose="best-validation")
    with pytest.raises(ValueError, match="takes a validation set"):
        run_fit(build_model(best), best, tmp_path)
    lora = build_config("lora")
    with pytest.raises(ValueError, match="encoder has none: inject_lora"):
        run_fit(build_model(config), lora, tmp_path)
    late = build_config("full", unfreezing=UnfreezingConfig(schedule="structure"))
    with pytest.raises(ValueError, match="after 3 epochs and the fit ends in epoch 2"):
        run_fit(build_model(late), late, tmp_path)
    short = replace(late, epochs=9, max_steps=9)  # three steps an epoch
    with pytest.raises(ValueError, match=r"the fit ends in epoch 3: raise epochs or max_steps"):
        run_fit(build_model(short), short, tmp_path)
    with pytest.raises(ValueError, match="trains an encoder and the model has none"):
        run_fit(TaskModel(MeanHead(), build_model(config).reader), lora, tmp_path)
    wild = build_config("frozen", peak_lr=1e30)
    with pytest.raises(
        ValueError, match=r"the loss of step \d is (inf|nan): lower the fit's peak_lr"
    ):
        run_fit(build_model(wild), wild, tmp_path, key="wild")


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"max_tokens_per_pack": 0},
        {"validate_every_epochs": 0},
        {"max_steps": -1},
        {"batch_sequences": -1},
        {"seed": -1},
        {"max_grad_norm": -1.0},
        {"peak_lr": 0.0},
        {"final_lr_ratio": 0.0},
        {"batch_sequences": 0},
        {"weight_decay": 0.1},
    ],
    ids=str,
)
def test_settings_are_checked(change):
    name, value = next(iter(change.items()))
    with pytest.raises(ValueError, match=rf"regime\.{name} .*{abs(value)}"):
        RegimeConfig(**change)
