"""The audit that stands beside scores is that of the data, against the very corpus."""

import json

from openrinalmo.data_prep.audits.audit_lines import write_audit
from openrinalmo.data_prep.shards import hash_manifest
from openrinalmo.pipeline.downstream.reports.corpus_audit import find_audit
from support.corpora import make_corpus


def test_the_audit_is_that_of_this_data_against_the_very_corpus(tmp_path):
    corpus = make_corpus(tmp_path, num_clusters=20)
    sources = {"toy.tsv": "ab" * 32}
    trained = {
        "run_config": json.dumps({"data": str(corpus)}),
        "manifest_sha256": hash_manifest(corpus),
    }
    assert "do not say which corpus" in find_audit({"sha256": "ab"}, sources)
    assert f"make audit CORPUS={corpus} BENCHMARKS=…" in find_audit(trained, sources)
    entry = {"sha256": "ab" * 32, "corpus": hash_manifest(corpus), "line": "audit:1|x"}
    write_audit(corpus, entry)
    assert find_audit(trained, sources) == "audit:1|x"
    write_audit(corpus, {**entry, "sha256": "of another benchmark"})
    assert find_audit(trained, sources) == "audit:1|x"
    both = {**sources, "more.tsv": "cd" * 32}
    assert find_audit(trained, both) == "audit:1|x; none of more.tsv"
    other = {**trained, "manifest_sha256": "0" * 64}
    assert f"{corpus}, the corpus of this checkpoint, is not there" in find_audit(other, sources)
