"""Settings of tasks on whole sequences: presets, what is refused, what `auto` means."""

from dataclasses import replace

import pytest
import torch

from openrinalmo.pipeline.downstream.fitting.regime_config import RegimeConfig
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_config import (
    PRESETS,
    SequenceConfig,
    build_sequence_config,
    refuse_idle,
)
from openrinalmo.pipeline.downstream.sequence_tasks.sequence_report import choose_precision
from openrinalmo.pipeline.downstream.tasks.splice import SpliceTask
from openrinalmo.pipeline.overrides import apply_overrides


def test_presets_and_settings():
    for preset in PRESETS:
        config = build_sequence_config(preset, SpliceTask.published_fit)
        assert config.preset == preset
        assert config.full_fit == SpliceTask.published_fit
        assert config.lora_fit.peak_lr > config.full_fit.peak_lr
    changed = apply_overrides(SequenceConfig(), ["head_fit.epochs=3", "systems=k-mer,one-hot"])
    assert changed.head_fit.epochs == 3
    assert changed.systems == ("k-mer", "one-hot")
    with pytest.raises(ValueError, match="preset must be one of"):
        build_sequence_config("fast", RegimeConfig())
    for field, value in (("systems", ()), ("max_test", -1), ("kmer_nt", 0)):
        with pytest.raises(ValueError, match=field):
            replace(SequenceConfig(), **{field: value})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["lora_fit.peak_lr=0.1"], r"lora_fit decides nothing without lora in regimes=linear"),
        (["regimes=lora", "lora_fit.lora.rank=4", "full_fit.epochs=3"], "full_fit decides nothing"),
        (["regimes=full", "full_fit.lora.rank=4"], r"full_fit\.lora decides nothing there"),
        (["systems=pretrained", "head_fit.epochs=3", "regimes=linear"], "head_fit decides nothing"),
        (["systems=pretrained", "kmer_nt=3"], "kmer_nt decides nothing without k-mer in systems"),
        (["seed=-1"], "seed must not be negative, got -1"),
    ],
)
def test_settings_that_decide_nothing_are_refused(settings, message):
    usual = build_sequence_config("quick", SpliceTask.published_fit)
    with pytest.raises(ValueError, match=message):
        refuse_idle(apply_overrides(usual, settings), usual)


@pytest.mark.parametrize(
    ("regimes", "on_cpu", "on_gpu"),
    [(("linear", "frozen"), "fp32", "fp32"), (("frozen", "full"), "fp32", "fp32+bf16")],
)
def test_the_precision_is_what_auto_means_on_the_device(regimes, on_cpu, on_gpu):
    config = SequenceConfig(regimes=regimes)
    for device, expected in (("cpu", on_cpu), ("cuda", on_gpu)):
        precisions = [choose_precision(one, config, torch.device(device)) for one in regimes]
        assert "+".join(dict.fromkeys(precisions)) == expected
