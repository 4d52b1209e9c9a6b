"""A plan as text."""

from collections.abc import Iterator

from .memory import OVERHEAD_BYTES, USABLE_SHARE
from .plan import CORPUS_EPOCHS, CORPUS_SEQUENCES, Plan
from .plan_stages import StagePlan

_STAGE_HEADER = (
    *("settings", "weights", "gathered", "grads", "fp32+moments", "activations", "other"),
    *("peak GiB", "fits", "max pack", "sent GB", "sent s", "step s", "tokens/s"),
)


def render_plan(plan: Plan, *, preset: str) -> str:
    """The whole plan, for a terminal."""
    lines = [*_facts(plan, preset), "", *_stage_table(plan), "", *_outcome(plan)]
    lines += [f"warning: {warning}" for warning in plan.warnings]
    return "\n".join(lines) + "\n"


def _facts(plan: Plan, preset: str) -> Iterator[str]:
    machine, mix = plan.machine, plan.mix
    nodes = f"{machine.nodes} machine{'s' if machine.nodes > 1 else ''}"
    facts = {
        "model": f"{preset}, {plan.parameters / 1e6:,.2f} M parameters "
        f"({plan.stored_parameters / 1e6:,.2f} M stored, aligned)",
        "machines": f"{machine.ranks} x {machine.gpu.name} on {nodes}, "
        f"{machine.gpu.peak_flops / 1e12:,.0f} TFLOP/s and {machine.gpu.memory_gib:.0f} GiB each; "
        f"links of {machine.link / 1e9:.0f} GB/s, 80 % of it assumed",
        "batch": f"{plan.packs_per_step} packs a step, {plan.micro_steps} micro-steps a rank, "
        f"{plan.tokens_per_step:,.0f} real tokens",
        "lengths": f"{mix.tokens_per_sequence:.0f} tokens a sequence, "
        f"{mix.context_per_token:.0f} seen by a token; {mix.source}",
        "epoch": _epoch(plan),
        "work": f"{plan.flops_per_token / 1e9:.3f} GFLOP a token, forward and backward",
        "speed": f"MFU {plan.utilisation.mfu:.1%}; {plan.utilisation.source}",
        "recomputed": f"every {plan.recompute_every_blocks}. block"
        if plan.recompute_every_blocks
        else "no block",
    }
    for name, fact in facts.items():
        yield f"{name:<12}{fact}"


def _epoch(plan: Plan) -> str:
    if plan.mix.sequences is None:
        return "unknown without prepared data"
    tokens = plan.mix.sequences * plan.mix.tokens_per_sequence
    packs = tokens * plan.packs_per_step / plan.tokens_per_step
    return (
        f"{plan.mix.sequences:,} sequences under the weights of RNA types, about {packs:,.0f} "
        f"packs, {packs / plan.packs_per_step:,.1f} steps"
    )


def _stage_table(plan: Plan) -> list[str]:
    rows = [_STAGE_HEADER, *(_stage_row(stage) for stage in plan.stages)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_STAGE_HEADER))]
    lines = ["GiB of one rank at its fullest, by ds_configs file"]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())
    usable = USABLE_SHARE * plan.machine.gpu.memory_gib
    lines.append(
        f"fits: peak under {usable:.1f} GiB, {USABLE_SHARE:.0%} of the GPU's; other has "
        f"{OVERHEAD_BYTES / 2**30:.0f} GiB assumed for context and libraries"
    )
    return lines


def _stage_row(stage: StagePlan) -> tuple[str, ...]:
    memory = stage.memory
    other = memory.peak - memory.states - memory.gathered - memory.activations
    figures = (
        *(memory.weights, memory.gathered, memory.gradients, memory.master + memory.moments),
        *(memory.activations, other, memory.peak),
    )
    return (
        stage.name,
        *(f"{figure / 2**30:.2f}" for figure in figures),
        "yes" if stage.fits else "NO",
        f"{stage.largest_pack_tokens:,}",
        f"{stage.sent_bytes / 1e9:.2f}",
        f"{stage.sent_seconds:.3f}",
        f"{stage.step_seconds:.3f}",
        f"{stage.tokens_per_second:,.0f}",
    )


def _outcome(plan: Plan) -> Iterator[str]:
    if plan.suggested is None:
        yield f"take        {plan.reason}"
        return
    yield f"take        engine={plan.suggested.name}: {plan.reason}"
    corpus = f"{CORPUS_SEQUENCES / 1e6:.0f} M sequences x {CORPUS_EPOCHS}"
    for name, steps in (("this run", plan.steps), (corpus, plan.corpus_steps)):
        seconds = steps * plan.suggested.step_seconds
        line = f"{name}: {steps:,} steps, {_duration(seconds)}, "
        line += f"{seconds * plan.machine.ranks / 3600:,.0f} GPU hours"
        cost = plan.cost(seconds)
        yield line + ("" if cost is None else f", {cost:,.0f} at the price given")


def _duration(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
