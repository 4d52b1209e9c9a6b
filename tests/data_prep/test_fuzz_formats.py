"""Broken FASTQ, Parquet and Arrow files are read or refused by name, never anything else."""

import io
import random

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from openrinalmo.data_prep.inputs.formats import iter_blocks
from support.broken_fasta import mutate_bytes
from support.fuzzing import EXPECTED_ERRORS, PACKERS, check_message, limited

CHUNK = 100


def build_fastq(rng):
    lines = []
    for number in range(rng.randint(1, 20)):
        letters = bytes(rng.choices(b"ACGTN", k=rng.choice([0, 1, 20, 90])))
        quality = bytes(rng.choices(range(33, 75), k=len(letters)))
        lines += [b"@r%d" % number, letters, rng.choice([b"+", b"+r%d" % number]), quality]
    return rng.choice([b"\n", b"\r\n"]).join(lines) + b"\n"


def build_table(rng):
    size = rng.randint(1, 50)
    return pa.table(
        {
            "id": [f"r{n}" for n in range(size)],
            "sequence": ["".join(rng.choices("ACGU", k=rng.randint(0, 90))) for _ in range(size)],
            "rna_type": [rng.choice(["tRNA", None]) for _ in range(size)],
        }
    )


def build_parquet(rng):
    sink = io.BytesIO()
    pyarrow.parquet.write_table(build_table(rng), sink, compression=rng.choice(["zstd", "none"]))
    return sink.getvalue()


def build_arrow(rng):
    sink = io.BytesIO()
    pyarrow.feather.write_feather(
        build_table(rng), sink, compression=rng.choice(["zstd", "uncompressed"])
    )
    return sink.getvalue()


def build_stream(rng):
    sink = io.BytesIO()
    table = build_table(rng)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


BUILDERS = {
    "fastq": build_fastq,
    "fastq_gzip": lambda rng: PACKERS["gzip"](build_fastq(rng)),
    "parquet": build_parquet,
    "arrow": build_arrow,
    "stream": build_stream,
}


@pytest.mark.parametrize(
    "chunk", [0, *(pytest.param(i, marks=pytest.mark.exhaustive) for i in range(1, 20))]
)
@pytest.mark.parametrize("builder", BUILDERS)
def test_broken_files_are_read_or_refused(tmp_path, builder, chunk):
    build = BUILDERS[builder]
    path = tmp_path / f"case.{builder}"
    refused = 0
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        rng = random.Random(number)
        path.write_bytes(mutate_bytes(rng, build(rng), build(rng)))
        try:
            with limited():
                for block in iter_blocks(path):
                    assert len(block.ids) == len(block.ends) == len(block.rna_types)
                    assert len(block.ends) == 0 or block.ends[-1] == len(block.letters)
        except EXPECTED_ERRORS as error:
            refused += 1
            check_message(error, path)
        except BaseException as error:
            error.add_note(f"case {number}; its bytes: {path}")
            raise
    assert refused
