"""Rows on disk are those in memory, whenever the process that writes them is killed."""

import numpy as np
import pytest

from openrinalmo.pipeline.downstream.representations import representation_files
from openrinalmo.pipeline.downstream.representations.embed import (
    EmbedConfig,
    count_rows,
    embed_sequences,
    open_representations,
)
from openrinalmo.pipeline.downstream.representations.representation_files import (
    write_representations,
)
from support.regimes import CPU, SEQUENCES, build_encoder

CONFIG = EmbedConfig(max_tokens_per_pack=20, dtype="float16")


class KilledError(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("reads", ["tokens", "specials", "cls", "mean"])
def test_a_file_holds_what_memory_would(reads, tmp_path):
    encoder = build_encoder()
    rows = embed_sequences(encoder, SEQUENCES, CONFIG, device=CPU, reads=reads)
    path = write_representations(
        tmp_path, "key", encoder, SEQUENCES, CONFIG, device=CPU, reads=reads
    )
    counts = {i: count_rows(reads, len(one)) for i, one in enumerate(SEQUENCES)}
    opened = open_representations(path, counts)
    assert opened.rows_TD.dtype == np.float16
    np.testing.assert_array_equal(opened.rows_TD, rows)
    assert len(opened.load(2, CPU)) == counts[2]
    assert [one.name for one in tmp_path.iterdir()] == ["key.npy"]


def write_killed(encoder, folder, monkeypatch, *, after, config=CONFIG):
    """Write until `after` packs are done; how many were computed, and whether all."""
    computed = []

    def embed_pack(*arguments):
        if len(computed) == after:
            raise KilledError
        computed.append(arguments)
        return original(*arguments)

    original = representation_files.embed_pack
    with monkeypatch.context() as patch:
        patch.setattr(representation_files, "embed_pack", embed_pack)
        try:
            write_representations(folder, "key", encoder, SEQUENCES, config, device=CPU)
        except KilledError:
            assert not (folder / "key.npy").exists()
            return len(computed), False
    return len(computed), True


def test_done_parts_are_kept(tmp_path, monkeypatch):
    encoder = build_encoder()
    monkeypatch.setattr(representation_files, "FLUSH_SECONDS", 0.0)
    whole, is_whole = write_killed(encoder, tmp_path / "whole", monkeypatch, after=99)
    assert is_whole
    assert whole >= 4
    assert write_killed(encoder, tmp_path / "killed", monkeypatch, after=2) == (2, False)
    assert write_killed(encoder, tmp_path / "killed", monkeypatch, after=1) == (1, False)
    assert write_killed(encoder, tmp_path / "killed", monkeypatch, after=99) == (whole - 3, True)
    one, other = (np.load(tmp_path / name / "key.npy") for name in ("whole", "killed"))
    np.testing.assert_array_equal(one, other)
    assert write_killed(encoder, tmp_path / "killed", monkeypatch, after=0) == (0, True)


def test_parts_of_other_settings_are_not_used(tmp_path, monkeypatch):
    encoder = build_encoder()
    monkeypatch.setattr(representation_files, "FLUSH_SECONDS", 0.0)
    write_killed(encoder, tmp_path, monkeypatch, after=2)
    other = EmbedConfig(max_tokens_per_pack=1, dtype="float16")
    computed, is_whole = write_killed(encoder, tmp_path, monkeypatch, after=99, config=other)
    assert is_whole
    assert computed == len(SEQUENCES)
    expected = embed_sequences(encoder, SEQUENCES, other, device=CPU)
    np.testing.assert_array_equal(np.load(tmp_path / "key.npy"), expected)


def test_nothing_to_embed_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no sequence to embed"):
        write_representations(tmp_path, "key", build_encoder(), [], CONFIG, device=CPU)
