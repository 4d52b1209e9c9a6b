#!/usr/bin/env bash
# GPU tests, then every benchmark, in under nine minutes; rows go to benchmarks/results.csv.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="benchmarks${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-.venv/bin/python}

timeout 240 "$python" -m pytest -q -m gpu tests/kernels
for bench in attention rope norm swiglu ffn_width; do
    timeout 150 "$python" "benchmarks/bench_$bench.py"
done
