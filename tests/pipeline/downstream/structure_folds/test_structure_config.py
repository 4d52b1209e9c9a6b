"""What a structure task fits by unless it is told otherwise, and what it refuses to be told."""

from dataclasses import replace

import pytest

from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.fitting.unfreezing import UnfreezingConfig, plan_unfreezing
from openrinalmo.pipeline.downstream.structure_folds.structure_config import (
    PUBLISHED_FIT,
    StructureConfig,
    apply_structure_settings,
)
from openrinalmo.pipeline.downstream.tasks.families import build_families_config
from openrinalmo.pipeline.downstream.tasks.intra_family import build_intra_family_config

BUILDERS = (build_families_config, build_intra_family_config)


def test_the_published_fit():
    """Adam at 5e-4, to a tenth over 7,000 updates of one RNA; blocks in eight groups of three."""
    fit = PUBLISHED_FIT
    assert (fit.regime, fit.optimizer, fit.peak_lr, fit.batch_sequences) == (
        "full",
        "adam",
        5e-4,
        1,
    )
    assert (fit.decay_steps, fit.final_lr_ratio, fit.choose) == (7000, 0.1, "last")
    stages = plan_unfreezing(fit.unfreezing, 33)
    assert [(stage.epoch, stage.blocks, stage.final_norm) for stage in stages] == [
        (3 * number, range(33 - 3 * number, 36 - 3 * number), number == 1) for number in range(1, 9)
    ]
    assert {stage.lr_ratio for stage in stages} == {0.1}
    assert fit.epochs > stages[-1].epoch == fit.unfreezing.last_epoch


@pytest.mark.parametrize("preset", ["quick", "budget", "full"])
@pytest.mark.parametrize("build", BUILDERS)
def test_regime_full_is_the_published_fit_unless_said_otherwise(build, preset):
    preset_config = build(preset)
    config = apply_structure_settings(preset_config, ["regime.regime=full", "seed=4"])
    assert config == replace(preset_config, regime=PUBLISHED_FIT, seed=4)
    own = ["regime.unfreezing.schedule=all", "regime.regime=full", "regime.epochs=2"]
    fit = apply_structure_settings(preset_config, own).regime
    assert fit == replace(PUBLISHED_FIT, epochs=2, unfreezing=UnfreezingConfig(schedule="all"))
    assert apply_structure_settings(preset_config, ["regime.regime=lora"]).regime == RegimeConfig(
        regime="lora"
    )


@pytest.mark.parametrize("build", BUILDERS)
def test_the_full_preset_sees_every_rna_and_decays_as_published(build):
    fit = build("full").regime
    assert (fit.regime, fit.epochs, fit.max_steps, fit.decay_steps) == ("frozen", 3, 0, 7000)


@pytest.mark.parametrize("preset", ["quick", "budget", "full"])
def test_updates_or_epochs_that_are_given_are_what_the_fit_has(preset):
    usual = build_families_config(preset)
    by_epochs = apply_structure_settings(usual, ["regime.epochs=5"]).regime
    assert by_epochs == replace(usual.regime, epochs=5, max_steps=0)
    by_steps = apply_structure_settings(usual, ["regime.max_steps=900"]).regime
    assert by_steps == replace(usual.regime, epochs=900, max_steps=900)
    both = apply_structure_settings(usual, ["regime.max_steps=900", "regime.epochs=2"]).regime
    assert (both.epochs, both.max_steps) == (2, 900)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("decoder.threshold=0.3", r"decoder\.threshold decides nothing: each fold's is tuned"),
        ("decoder.score_weight=3.0", r"score_weight decides nothing without decoder\.use_energy"),
    ],
)
def test_decoder_settings_that_decide_nothing_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        apply_structure_settings(StructureConfig(), [setting])


def test_a_schedule_that_the_epochs_cut_short_is_refused():
    short = ["regime.regime=full", "regime.epochs=24"]
    with pytest.raises(
        ValueError, match=r"regime\.epochs 24 ends before .*schedule=structure .* 24"
    ):
        apply_structure_settings(StructureConfig(), short)
    quick = [*short, "regime.epochs=9", "regime.unfreezing.every_epochs=1"]
    assert apply_structure_settings(StructureConfig(), quick).regime.epochs == 9


@pytest.mark.parametrize(
    "setting",
    [
        "lora.rank=4",
        "unfreezing.every_epochs=1",
        "precision=bf16",
        "validate_every_epochs=2",
        "lr_schedule=constant final_lr_ratio=0.5",
    ],
)
def test_settings_that_decide_nothing_are_refused(setting):
    settings = setting.split()
    path = settings[-1].replace(".", "=").partition("=")[0]
    with pytest.raises(ValueError, match=rf"regime\.{path} decides nothing .*regime=frozen"):
        apply_structure_settings(StructureConfig(), [f"regime.{one}" for one in settings])


@pytest.mark.parametrize("name", ["every_epochs=2", "lr_ratio=0.5"])
def test_a_schedule_of_all_has_no_stages(name):
    whole = ["regime.regime=full", "regime.unfreezing.schedule=all"]
    assert apply_structure_settings(StructureConfig(), whole).regime.unfreezing.schedule == "all"
    with pytest.raises(ValueError, match=rf"unfreezing\.{name.partition('=')[0]} decides nothing"):
        apply_structure_settings(StructureConfig(), [*whole, f"regime.unfreezing.{name}"])


@pytest.mark.parametrize("setting", ["peak_lr=nan", "save_every_seconds=-5", "max_grad_norm=nan"])
def test_numbers_that_are_none_are_refused(setting):
    name = setting.partition("=")[0]
    with pytest.raises(ValueError, match=rf"regime\.{name} must"):
        apply_structure_settings(StructureConfig(), [f"regime.{setting}"])


@pytest.mark.parametrize("name", ["seed", "bootstrap.seed"])
def test_negative_seeds_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} must not be negative, got -1"):
        apply_structure_settings(StructureConfig(), [f"{name}=-1"])
