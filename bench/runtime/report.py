"""The table, the ratios against the goals, and the file that can be shared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .rounds import Result

OURS, NAIVE, MEDIAPIPE, LIMIT = "sightpost", "naive", "MediaPipe video", "invoke"


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure to reach: ``value`` at least or at most ``goal``; None where it was not measured.

    ``note`` says how the figure came about; ``uncertain``: it does not tell whether it is reached.
    """

    what: str
    value: float | None
    goal: float
    at_least: bool
    unit: str = ""
    note: str = ""
    uncertain: bool = False

    @property
    def reached(self) -> bool | None:
        """None where that is not known."""
        if self.value is None or self.uncertain:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        wanted = f"{sign} {self.goal:g}{self.unit}"
        if self.value is None:
            return f"  ----   {self.what}: not measured ({wanted})"
        off = abs(self.value - self.goal)
        verdict = "OPEN " if self.uncertain else "PASS " if self.reached else "SHORT"
        by = "" if self.reached is not False else f", {off:.2f}{self.unit} short"
        note = f"; {self.note}" if self.note else ""
        return f"  {verdict}  {self.what}: {self.value:.2f}{self.unit} ({wanted}{by}){note}"


def goals(found: Mapping[str, Any]) -> list[Goal]:
    """Every goal of the loop, from what ``__main__`` measured."""
    return [
        *_overload(found["overload"], found["fps"]),
        *_light(found["underload"], found["still"]),
        *_processes(found),
    ]


def _ratio(results: Mapping[str, Result], figure: str, ours: str, theirs: str) -> float | None:
    if any(name not in results or not results[name].rounds for name in (ours, theirs)):
        return None
    return results[ours].median(figure) / results[theirs].median(figure)


def _overload(results: Mapping[str, Result], fps: float) -> Iterator[Goal]:
    yield Goal("decisions/s, of naive", _ratio(results, "per_s", OURS, NAIVE), 2.5, True, "x")
    yield Goal("decisions/s, of 1/invoke", *_of_limit(results, fps))
    p95 = _ratio(results, "latency_p95_ms", OURS, NAIVE)
    yield Goal("latency p95, of naive", p95, 0.25, False)
    yield Goal("CPU per decision, of naive", _ratio(results, "cpu_ms", OURS, NAIVE), 0.65, False)
    yield Goal(
        "CPU per decision, of MediaPipe", _ratio(results, "cpu_ms", OURS, MEDIAPIPE), 1.0, False
    )


def _of_limit(
    results: Mapping[str, Result], fps: float
) -> tuple[float | None, float, bool, str, str]:
    """Value, goal and note; a camera slower than the model is a limit as well."""
    share = _ratio(results, "per_s", OURS, LIMIT)
    note = ""
    if share is not None:
        limit, mine = (results[name].median("per_s") for name in (LIMIT, OURS))
        note = f"1/invoke is {limit:.0f}/s, of the camera's {fps:.0f}/s it is {mine / fps:.2f}"
    return share, 0.8, True, "", note


def _light(underload: Mapping[str, Result], still: Mapping[str, Result]) -> Iterator[Goal]:
    ratio = _ratio(underload, "cpu_ms", OURS, NAIVE)
    yield Goal("30 fps: CPU per frame, of naive", ratio, 0.60, False)
    gated = _ratio(still, "cpu_ms", "sightpost, gate", NAIVE)
    yield Goal("still scene with gate: CPU per frame, of naive", gated, 0.30, False)


def _processes(found: Mapping[str, Any]) -> Iterator[Goal]:
    starts, soak, bulk = found["starts"], found["soak"], found["bulk"]
    start = starts.get("sightpost run, one frame", {}).get("cpu_s")
    yield Goal("start to first prediction, CPU", start, 1.2, False, " s")
    yield Goal("peak memory, 720p MJPEG", soak.get("peak_mib"), 160, False, " MiB")
    yield _slope(soak)
    for what in ("files", "threads"):
        ends = soak.get(what)
        note = f"from {ends[0]} to {ends[1]}" if ends else ""
        yield Goal(f"{what}, change", ends and ends[1] - ends[0], 0, False, "", note)
    for name in ("naive", "naive, area"):
        ratio = bulk and bulk["sightpost classify"]["per_s"] / bulk[name]["per_s"]
        yield Goal(f"bulk photos/s, of {name}", ratio or None, 2.8, True, "x")


def _slope(soak: Mapping[str, Any]) -> Goal:
    goal, slope, error = 1.0, soak.get("slope_mib_per_h"), soak.get("slope_error")
    if slope is not None and error is None:
        note = "a short soak is all warm-up; ARGS='--only soak --soak 30' tells"
    else:
        note = f"+/- {error} in {soak.get('minutes')} minutes"
    uncertain = slope is not None and (error is None or abs(slope - goal) < error)
    return Goal("memory slope after warm-up", slope, goal, False, " MiB/h", note, uncertain)


def table(title: str, results: Mapping[str, Result], *, fps: float) -> str:
    """Contestants as rows; * marks figures from rounds that others disturbed."""
    head = ("", "dec/s", "of limit", "dropped", "lat ms", "p95 ms", "CPU ms", "of naive", "others")
    rows = [head, *(_row(result, results, fps) for result in results.values())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = [
        row[0].ljust(widths[0])
        + "".join("  " + cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    return "\n".join([title, *("  " + line.rstrip() for line in lines)])


def _row(result: Result, results: Mapping[str, Result], fps: float) -> tuple[str, ...]:
    if result.failure:
        return (f"{result.name}: {result.failure[:70]}", *[""] * 8)
    per_s = result.median("per_s")
    of_limit = _ratio(results, "per_s", result.name, LIMIT)
    only_model = result.name == LIMIT
    naive = _ratio(results, "cpu_ms", result.name, NAIVE)
    return (
        result.name + ("" if result.quiet else " *"),
        f"{per_s:.1f}",
        "" if of_limit is None else f"{of_limit:.0%}",
        "" if only_model else f"{max(0.0, 1 - per_s / fps):.0%}",
        f"{result.median('latency_ms'):.1f}",
        f"{result.median('latency_p95_ms'):.1f}",
        f"{result.median('cpu_ms'):.2f}",
        "" if naive is None else f"{naive:.0%}",
        f"{result.median('foreign_cores'):.2f}",
    )


def plain_table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Names, then figures with their names."""
    width = max(map(len, rows), default=0)
    lines = [
        f"  {name.ljust(width)}  "
        + "  ".join(f"{key} {_short(value)}" for key, value in row.items())
        for name, row in rows.items()
    ]
    return "\n".join([title, *lines])


def _short(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)
