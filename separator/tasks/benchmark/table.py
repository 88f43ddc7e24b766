"""Measurements of separating as a Markdown table."""

from collections.abc import Sequence

from separator.tasks.benchmark.measurement import Measurement


def systems_table(results: Sequence[Measurement]) -> str:
    """A row for each measurement, times also as ratios to the first system on the same length."""
    columns = ["sound (s)", "time (s)", "real-time factor", "times the first", "memory (MB)", "for the work", "firing rate"]
    lines = [f"| system | {' | '.join(columns)} | same spikes |", f"|---|{'---:|' * len(columns)}---|"]
    first: dict[float, float] = {}
    for result in results:
        case = result.case
        ratio = result.elapsed / first.setdefault(case.seconds, result.elapsed)
        rate = "" if result.firing_rate is None else f"{result.firing_rate:.3f}"
        working = "" if result.working is None else f"{result.working:.0f}"
        lines.append(
            f"| {case.system} | {case.seconds:g} | {result.elapsed:.3g} | {result.real_time_factor:.4f} | "
            f"{ratio:.2f} | {result.memory:.0f} | {working} | {rate} | {'yes' if result.same_spikes else ''} |"
        )
    return "\n".join(lines) + "\n"
