"""The picture of a benchmark: a bar for each ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def where(row: dict[str, object]) -> str:
    """Return the kind of folder that the case of *row* wrote into."""
    folder = row["folder"]
    if folder is None:
        return ""
    return {"/dev/shm": "memory", "ext4 image": "disk with a journal"}.get(str(folder), "disk")


def label(row: dict[str, object]) -> str:
    """Return what stands beside the bar of *row*."""
    ours = "" if row["ours"] == "ours" else f", {row['ours']}"
    folder = f" [{where(row)}]" if where(row) else ""
    return f"{row['case']}{ours}{folder}, against {row['other']}"


def draw(found: list[dict[str, object]], target: Path) -> None:
    """Draw each ratio as a bar on a logarithmic axis, beside what is aimed at."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [it for it in found if float(it["ratio"]) > 0][::-1]  # type: ignore[arg-type]
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1.2), layout="constrained")
    ratios = [float(it["ratio"]) for it in rows]  # type: ignore[arg-type]
    aims = [float(it["at_most"] or 1) for it in rows]  # type: ignore[arg-type]
    colours = ["#2a7f62" if ratio <= aim else "#c05746" for ratio, aim in zip(ratios, aims, strict=True)]
    axes.barh(range(len(rows)), [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.6)
    for row, it in enumerate(rows):
        if it["at_most"]:
            axes.plot([it["at_most"]] * 2, [row - 0.4, row + 0.4], color="black", lw=1.5)  # type: ignore[list-item]
        axes.annotate(
            f"{ratios[row]:.2f}",
            (min(ratios[row], 1), row),
            (-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            size=8,
        )
    axes.set_yticks(range(len(rows)), [label(it) for it in rows], size=8)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_xscale("log")
    axes.axvline(1, color="grey", lw=0.8)
    axes.set_xlim(min(ratios) / 2.5, max(2.0, max(ratios) * 1.2))
    axes.set_xlabel(
        "ours / the other's: time, or what else is measured\n(less is better; black: aimed at)", loc="right"
    )
    figure.savefig(target, dpi=130)
