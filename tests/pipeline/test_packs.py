"""The entry from a shell: what packs hold, where records are, what a checkpoint makes of a pack."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from openrinalmo.data_prep.shards import hash_manifest, open_split
from openrinalmo.model import alphabet
from openrinalmo.model.encoder import build_encoder_config
from openrinalmo.model.masked_lm import MaskedLM, masked_lm_loss_sum
from openrinalmo.model.weights import load_masked_lm, save_masked_lm
from openrinalmo.pipeline import packs
from openrinalmo.pipeline.overrides import apply_overrides, describe
from openrinalmo.pipeline.pretraining import pack_report
from openrinalmo.pipeline.pretraining.batches import PackStream
from openrinalmo.pipeline.pretraining.masking import MaskingConfig
from openrinalmo.pipeline.pretraining.presets import PRESETS
from openrinalmo.pipeline.pretraining.sampling import SamplingConfig
from support.corpora import make_corpus
from support.typed_corpora import make_typed_corpus

ENTRY = Path(__file__).resolve().parents[2] / "pipeline" / "packs.py"
SETTINGS = (
    "batches.micro_batch_tokens=400",
    "batches.global_batch_tokens=800",
    "sampling.max_length_nt=80",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"), num_clusters=60)


@pytest.fixture(scope="module")
def config(corpus):
    return apply_overrides(PRESETS["tiny"](), [*SETTINGS, f"data={corpus}"])


@pytest.fixture(scope="module")
def split(corpus):
    return open_split(corpus, "train")


@pytest.fixture(scope="module")
def stream(config, split):
    return PackStream(
        split,
        pack_tokens=400,
        sampling=config.sampling,
        masking=config.masking,
        seed=config.seed,
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """A run's folder: an untrained export, and the settings as training writes them."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    torch.manual_seed(0)
    size = replace(build_encoder_config("tiny", dropout=0.1), embed_dim=16, num_blocks=1)
    save_masked_lm(MaskedLM(size), folder / "model.safetensors", {})
    content = {"config": describe(config), "manifest_hash": hash_manifest(config.data)}
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def look(corpus, monkeypatch, capsys):
    """Runs the entry in this process, which has imported torch already."""

    def run_main(*words):
        arguments = ["packs.py", "--preset", "tiny", f"data={corpus}", *SETTINGS, *words]
        monkeypatch.setattr(sys, "argv", arguments)
        code = 0
        try:
            packs.main()
        except SystemExit as stop:
            code = stop.code
        return SimpleNamespace(code=code, stdout=capsys.readouterr().out)

    return run_main


def test_the_entry_starts_from_a_shell_and_ends_in_one_line_on_a_mistake(corpus):
    command = [sys.executable, "-P", ENTRY, "--preset", "tiny", f"data={corpus}", *SETTINGS]
    done = subprocess.run(
        [*command, "show", "x"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 1
    assert "packs.py: show takes a pack's number in the stream, from 0; got 'x'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_show_lists_place_fill_and_every_sequence(look, split, stream):
    number = stream.num_packs(0) + 2
    done = look("show", str(number))
    assert done.code == 0
    pack, samples = stream.pack(number), stream.samples(number)
    lines = done.stdout.splitlines()
    assert lines[0] == f"pack {number}: epoch 1, pack 2 of {stream.num_packs(1)}"
    num_nt, selected = int(samples.lengths_nt.sum()), len(pack.labels_M)
    assert f"{pack.num_tokens} of 400 tokens (fill {pack.num_tokens / 400:.4f})" in lines[1]
    assert f"{selected} of {num_nt} nt selected ({selected / num_nt:.4f})" in lines[1]
    assert len(lines[3:]) == len(samples.records)
    for line, record in zip(lines[3:], samples.records.tolist(), strict=True):
        total = split.lengths_nt[record]
        window = rf"(\d+)-(\d+) of {total} nt" if total > 80 else f"{total} nt"
        rna_type = split.rna_types[split.rna_type_ids[record]]
        name = rf"\d+: record {record} {split.id(record)}, {rna_type}, {window}, \d+ selected"
        assert re.fullmatch(name, line)
    counts = [int(line.split(", ")[-1].split()[0]) for line in lines[3:]]
    assert sum(counts) == selected


def test_show_with_letters_is_the_pack_read_back(look, stream):
    done = look("show", "1", "--letters")
    assert done.code == 0
    lines = done.stdout.splitlines()
    shown, truth = [], []
    for first, second in pairwise(lines):
        if first.startswith("    shown "):
            assert second.startswith("    truth")
            shown.append(first[10:])
            truth.append(second[10:].ljust(len(first[10:])))
    pack = stream.pack(1)
    symbol_of = {alphabet.CLS: "<", alphabet.EOS: ">", alphabet.MASK: "_"}
    ids = pack.ids_T.tolist()
    letters = [symbol_of.get(i) or alphabet.TOKENS[i].replace("T", "U") for i in ids]
    assert "".join(shown) == "".join(letters)
    labels = dict(zip(pack.predicted_rows_M.tolist(), pack.labels_M.tolist(), strict=True))
    expected = [alphabet.TOKENS[labels[i]].replace("T", "U") if i in labels else " "
                for i in range(len(ids))]  # fmt: skip
    assert "".join(truth) == "".join(expected)


def test_find_says_which_pack_shows_a_record_and_which_member_stands_for_it(look, split, stream):
    plan = stream.epochs.plan(2)
    shown = int(plan.records[50 % len(plan.records)])
    done = look("find", split.id(shown), "--epoch", "2")
    assert done.code == 0
    (number,) = map(int, re.findall(r"is in pack (\d+) ", done.stdout))
    assert stream.locate(number)[0] == 2
    assert shown in stream.samples(number).records

    hidden = next(iter(set(range(split.num_records)) - set(plan.records.tolist())))
    done = look("find", split.id(hidden), "--epoch", "2")
    is_not = r"is not shown; of its cluster's (\d) members this epoch takes (\S+), in pack (\d+) "
    ((size, other, number),) = re.findall(is_not, done.stdout)
    cluster = split.cluster(hidden)
    members = [r for r in range(split.num_records) if split.cluster(r) == cluster]
    assert int(size) == len(members)
    assert split.find(other) in members
    assert split.find(other) in stream.samples(int(number)).records


def test_find_names_every_showing_of_a_cluster_and_says_when_weights_leave_it_out(tmp_path):
    split = open_split(make_typed_corpus(tmp_path), "train")
    sampling = SamplingConfig(type_temperature=0.0, type_caps="rRNA=0.3", max_repeats=6)
    stream = PackStream(split, pack_tokens=1100, sampling=sampling, masking=MaskingConfig(), seed=0)
    shown = {}
    for number in range(stream.num_packs(0)):
        for record in stream.samples(number).records.tolist():
            shown.setdefault(split.cluster(record), []).append((record, number))
    kinds = set()
    for record in range(split.num_records):
        line = pack_report.find_record(split, stream, split.id(record), epoch=0)
        of_cluster = shown.get(split.cluster(record), [])
        own = [number for other, number in of_cluster if other == record]
        kind = "own" if own else "others" if of_cluster else "none"
        expected = own or [number for _, number in of_cluster]
        assert [int(n) for n in re.findall(r"\bpack (\d+) \(", line)] == expected
        wording = {"own": " is in ", "others": " this epoch takes ", "none": "to another epoch"}
        assert wording[kind] in line
        kinds.add((kind, len(expected) > 1))
    assert {("own", True), ("own", False), ("others", False), ("none", False)} <= kinds


def test_replay_is_the_loss_without_dropout_and_its_parts_make_the_whole(look, stream, run):
    done = look("replay", "3", "--checkpoint", str(run))
    assert done.code == 0
    pack, model = stream.pack(3), load_masked_lm(run).model
    with torch.no_grad():
        output = model(
            pack.ids_T, pack.cu_seqlens, pack.max_seqlen, predicted_rows_M=pack.predicted_rows_M
        )
        total = float(masked_lm_loss_sum(output.logits_TV, pack.labels_M))
    count = len(pack.labels_M)
    assert done.stdout.startswith(f"pack 3: loss {total / count:.4f} over {count} masked tokens\n")
    types = re.findall(r"loss (\S+), +(\S+)% of the sum, (\d+) tokens: (\w+)", done.stdout)
    assert {name for *_, name in types} == {"hairpin", "repeat"}
    assert sum(int(tokens) for _, _, tokens, _ in types) == count
    parts = sum(float(loss) * int(tokens) for loss, _, tokens, _ in types)
    assert parts == pytest.approx(total, rel=1e-3)
    worst = [float(x) for x in re.findall(r"loss (\S+) over \d+ tokens: ", done.stdout)]
    assert worst == sorted(worst, reverse=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to look at: show N, find ID or replay N --checkpoint RUN"),
        (("show",), "say what to look at"),
        (("show", "x"), "show takes a pack's number in the stream, from 0; got 'x'"),
        (("find", "nobody"), "no record 'nobody' in the train split"),
        (("find", "r0.0", "--epoch", "-1"), "--epoch counts from 0, got -1"),
        (("replay", "3"), "replay needs --checkpoint"),
        (("replay", "3", "--checkpoint", "nowhere"), "nowhere"),
        (("show", "3", "sampling.max_len=4"), "did you mean 'max_length_nt'"),
        (("show", "3", "data=nowhere"), "no prepared data in nowhere"),
    ],
    ids=["nothing", "no number", "no numeral", "nobody", "epoch", "no run", "no file", "typo",
         "no data"],
)  # fmt: skip
def test_mistakes_end_in_one_clear_line(look, words, message):
    done = look(*words)
    assert message in done.code
    assert "\n" not in done.code
    assert done.stdout == ""


def test_a_run_with_other_packs_or_other_data_is_refused_with_what_to_give(look, run, tmp_path):
    done = look("replay", "3", "--checkpoint", str(run), "seed=4", "masking.mask_ratio=0.3")
    assert "give its settings, seed=0 masking.mask_ratio=0.15" in done.code
    other = make_corpus(tmp_path / "other", num_clusters=30)
    done = look("replay", "3", "--checkpoint", str(run), f"data={other}")
    assert "was trained on other data" in done.code
