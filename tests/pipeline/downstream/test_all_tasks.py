import json

import pytest

from openrinalmo.data_prep.audits.audit_lines import write_audit
from openrinalmo.data_prep.shards import hash_manifest
from openrinalmo.model.weights import load_masked_lm
from openrinalmo.pipeline.downstream import all_tasks
from openrinalmo.pipeline.downstream.all_tasks import (
    ALTERNATIVES,
    SEQUENCE_TASKS,
    TASKS,
    Request,
    check_names,
    evaluate_task,
    evaluate_tasks,
    list_all,
)
from openrinalmo.pipeline.downstream.reports.scorecard_files import write_scorecard
from openrinalmo.pipeline.downstream.task_report import read_task_report
from openrinalmo.pipeline.downstream.tasks.intra_family import read_intra_family
from support.corpora import make_corpus
from support.families import build_lines, build_toy_config, write_checkpoint, write_structures
from support.sequence_tasks import write_loads, write_splice
from support.shared import SHARED, requires_shared
from support.task_reports import build_report, build_score


@pytest.mark.parametrize("name", SEQUENCE_TASKS)
def test_a_task_of_sequences_bears_the_name_it_is_asked_by(name):
    assert SEQUENCE_TASKS[name]().name == name


OF_STRUCTURES = [
    *("families", "intra-family", "zero-shot-structure", "mutation-effects", "embeddings")
]


def test_all_without_data_is_what_the_sample_has():
    names = list_all(None)
    assert names[:3] == ["families", "intra-family", "classification-sample"]
    assert names[3:] == ["zero-shot-structure", "mutation-effects", "embeddings"]
    check_names(names)


@requires_shared("data/structure/archiveII_3966.tsv.xz", "data/splice", "data/mrl")
def test_all_is_every_task_but_the_alternatives_where_the_folder_has_all():
    names = list_all(SHARED / "data")
    assert names == [name for name in TASKS if name not in ALTERNATIVES]
    check_names(names)


def test_all_is_what_the_folder_has_data_for_and_the_rest_is_logged(tmp_path, caplog):
    write_splice(tmp_path)
    write_loads(tmp_path)
    names = ["splice-donor", "splice-acceptor", "ribosome-load"]
    assert list_all(tmp_path) == names
    logged = {record.args[0]: record.args[1] for record in caplog.records}
    assert logged["families"] == f"{tmp_path} holds no archiveII*.tsv*, in it or in structure/"
    assert "holds neither bprna" in logged["out-of-family"]
    assert (
        "holds no nrc_13class*.tsv*, in it or in classification/" in logged["classification-nrc13"]
    )
    assert {*logged, *names, *ALTERNATIVES} == set(TASKS)

    (tmp_path / "structure").mkdir()
    write_structures(tmp_path / "structure" / "archiveII_toy.tsv", build_lines())
    assert sorted(list_all(tmp_path)) == sorted([*OF_STRUCTURES, *names])
    assert read_intra_family(tmp_path, build_toy_config()).name == "archiveii_toy"
    # A file that is damaged is there: its task is to say so, not to be left out.
    (tmp_path / "structure" / "archiveII_toy.tsv").write_text("?")
    assert "families" in list_all(tmp_path)
    (tmp_path / "structure" / "archiveII_toy.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no archiveII\*\.tsv\*, in it or"):
        read_intra_family(tmp_path, build_toy_config())


def test_a_file_or_a_folder_of_structures_is_data_of_tasks_of_structures(tmp_path):
    mine = write_structures(tmp_path / "mine.tsv", build_lines())
    assert list_all(mine) == list_all(tmp_path) == OF_STRUCTURES
    members = tmp_path / "members.csv"
    members.write_text("sequence,family\nACGU,x\n")
    assert list_all(members) == ["embeddings"]
    with pytest.raises(FileNotFoundError, match="nowhere has data for no task; .* no data at"):
        list_all(tmp_path / "nowhere")


@pytest.mark.parametrize("names", [[], ["families", "families"], ["Families"], ["all"]])
def test_unknown_repeated_and_no_names_are_refused(names):
    with pytest.raises(ValueError, match="task"):
        check_names(names)


def test_names_are_checked_before_the_checkpoint_is_read(tmp_path):
    with pytest.raises(ValueError, match="no task folding"):
        evaluate_tasks(tmp_path / "none", ["folding"], "quick", None, tmp_path)


def test_the_audit_of_a_tasks_own_files_is_printed_with_its_scores(tmp_path, monkeypatch):
    corpus = make_corpus(tmp_path, num_clusters=20)
    line = {"sha256": "ab" * 32, "corpus": hash_manifest(corpus), "line": "audit:1|x"}
    write_audit(corpus, line)
    checkpoint = {
        "sha256": "cd" * 32,
        "run_config": json.dumps({"data": str(corpus)}),
        "manifest_sha256": hash_manifest(corpus),
    }
    report = build_report(
        build_score(0.5), notes=("first",), checkpoint=checkpoint, sources={"a.tsv": "ab" * 32}
    )
    monkeypatch.setitem(vars(all_tasks)["TASKS"], "toy", lambda name, request: report)
    loaded = load_masked_lm(write_checkpoint(tmp_path / "run"))
    request = Request(loaded=loaded, preset="quick", data=None, out=tmp_path / "out")
    evaluate_task("toy", request)
    stored = read_task_report(tmp_path / "out" / "toy.json")
    assert stored.notes[0] == "first"
    assert stored.notes[1].startswith("Pretraining data: unknown")
    assert stored.notes[2:] == ("Audit: audit:1|x",)
    assert stored.sources == {"a.tsv": "ab" * 32}
    write_scorecard([stored], tmp_path / "out")
    for name in ("scorecard.html", "scorecard.md", "scorecard.json"):
        text = (tmp_path / "out" / name).read_text().replace("\\|", "|")
        assert "Audit: audit:1|x" in text


def test_a_family_that_pretraining_may_have_seen_is_refused_before_anything_is_fitted(tmp_path):
    loaded = load_masked_lm(write_checkpoint(tmp_path / "run"))
    request = Request(
        loaded=loaded,
        preset="quick",
        data=None,
        out=tmp_path / "out",
        settings=("require_unseen=true",),
        folds=("tRNA",),
    )
    with pytest.raises(ValueError, match=r"made without no family, and these folds hold out tRNA"):
        evaluate_task("families", request)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.timeout(2700)  # minutes alone; five times that on a busy machine
def test_every_task_of_the_sample_reports_under_its_name(tmp_path):
    checkpoint = write_checkpoint(tmp_path / "run")
    names = [name for name in list_all(None) if name != "families"]
    reports = evaluate_tasks(checkpoint, names, "quick", None, tmp_path / "out")
    assert [report.task for report in reports] == names
    for report in reports:
        assert report.notes[-1].startswith("Audit: none: the weights do not say which corpus")
        assert report.sources
        assert (tmp_path / "out" / f"{report.task}.json").is_file()
        systems = {score.system for score in report.scores}
        assert {"pretrained", "random encoder"} <= systems
        assert any(score.is_primary for score in report.scores)
        assert f"ckpt:{reports[0].checkpoint['sha256'][:8]}" in report.signature
