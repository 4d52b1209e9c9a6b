#!/usr/bin/env bash
# GPU tests and benchmarks, in under ten minutes; rows go to benchmarks/results.csv.
#
#   benchmarks/run_gpu.sh                    every part, in the order below
#   benchmarks/run_gpu.sh step attention     these parts: to go on where a run ended, or again
#   TIME_LIMIT=1200 benchmarks/run_gpu.sh    more time in all, in seconds
#
# A part that fails or takes too long is named at the end and the rest runs all the same; a part for
# which no time is left is named too. `step` writes what it has measured when it is interrupted.
#
# PYTHON names the interpreter, .venv/bin/python by default. On a machine without network, bring
# wheels and let PYTHON be that of an environment they are installed in. All parts need torch with
# CUDA, triton, numpy and pytest; `step` needs DeepSpeed for its zero rungs, which are left out and
# named where it is missing; `loader` needs pyarrow, and `datasets` and `transformers` for its rival.
# DeepSpeed is published as source only. Where there is network:
#   DS_BUILD_OPS=0 pip wheel --no-build-isolation --no-deps --wheel-dir wheels 'deepspeed==0.19.8'
#   pip download --only-binary :all: --no-deps --dest wheels \
#       einops hjson msgpack ninja packaging psutil py-cpuinfo pydantic pydantic-core \
#       annotated-types typing-extensions typing-inspection tqdm pyarrow safetensors zstandard
# and, beside the checkout on the GPU machine, whose torch and triton stay:
#   pip install --no-index --no-deps wheels/*.whl && pip install --no-index --no-deps \
#       --no-build-isolation --editable .
# The engine updates with PyTorch's own fused AdamW: nothing is compiled on the GPU machine but
# Triton's kernels.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="benchmarks${PYTHONPATH:+:$PYTHONPATH}"
python=${PYTHON:-.venv/bin/python}
time_limit=${TIME_LIMIT:-585}

parts=(tests step attention stages norm rope swiglu ffn loader)
# zero2 and zero3_fast are left to `stages`, which compares the stages alone.
rungs=padded_checkpointed,padded,packed_checkpointed,packed,aligned,own_attention,fused_ops,zero1,zero3
# Seconds a part may take, and what it runs.
part_of() {
    case $1 in
        tests) echo "150 -m pytest -q -m gpu tests/kernels" ;;
        step) echo "290 benchmarks/bench_step.py --rungs $rungs --seconds 250" ;;
        attention) echo "120 benchmarks/bench_attention.py" ;;
        stages) echo "120 benchmarks/bench_stages.py" ;;
        norm) echo "60 benchmarks/bench_norm.py" ;;
        rope) echo "45 benchmarks/bench_rope.py" ;;
        swiglu) echo "45 benchmarks/bench_swiglu.py" ;;
        ffn) echo "25 benchmarks/bench_ffn_width.py" ;;
        loader) echo "60 benchmarks/bench_loader.py" ;;
        *) return 1 ;;
    esac
}

asked=("$@")
((${#asked[@]})) || asked=("${parts[@]}")
for name in "${asked[@]}"; do
    if ! part_of "$name" >/dev/null; then
        echo "no part '$name': give some of ${parts[*]}" >&2
        exit 2
    fi
done

summary=()
failed=0
for name in "${asked[@]}"; do
    read -r -a command <<<"$(part_of "$name")"
    left=$((time_limit - SECONDS))
    seconds=$((command[0] < left ? command[0] : left))
    if ((seconds < 10)); then
        summary+=("$name: not run, the time limit of $time_limit s is used up")
        failed=1
        continue
    fi
    echo "== $name: at most $seconds s"
    start=$SECONDS
    timeout --signal INT --kill-after 10 "$seconds" "$python" "${command[@]:1}"
    status=$?
    case $status in
        0) outcome="done" ;;
        124 | 137) outcome="stopped at its limit" ;;
        *) outcome="FAILED with status $status" ;;
    esac
    ((status)) && failed=1
    summary+=("$name: $outcome after $((SECONDS - start)) s")
done

printf '\n== %s s in all\n' "$SECONDS"
printf '%s\n' "${summary[@]}"
exit "$failed"
