#!/usr/bin/env bash
# GPU tests, then every benchmark, in under nine minutes; rows go to benchmarks/results.csv.
# What fails or takes too long is named, and the rest runs all the same.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="benchmarks${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-.venv/bin/python}
failed=()

within() {
    local seconds=$1
    shift
    timeout "$seconds" "$python" "$@" || failed+=("$*")
}

within 180 -m pytest -q -m gpu tests/kernels
within 180 benchmarks/bench_attention.py
within 45 benchmarks/bench_rope.py
within 60 benchmarks/bench_norm.py
within 45 benchmarks/bench_swiglu.py
within 25 benchmarks/bench_ffn_width.py

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[@]}"
    exit 1
fi
