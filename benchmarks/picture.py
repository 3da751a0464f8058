"""Draws the ratios of a benchmark as bars."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

COLOURS = 32  # of a saved picture: enough for smooth letters


def keep(figure: Figure, target: Path, dots: int) -> None:
    """Write *figure* as a PNG with *dots* per inch and few colours, which takes a third of the bytes."""
    from PIL import Image

    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dots)
    Image.open(drawn).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(target, optimize=True)


def where(row: dict[str, object]) -> str:
    """Return the kind of folder that was measured: memory, disk, or empty text if that makes no difference."""
    folder = row["folder"]
    if folder is None:
        return ""
    return {"/dev/shm": "memory", "ext4 image": "disk with a journal"}.get(str(folder), "disk")


def label(row: dict[str, object]) -> str:
    """Return the text beside the bar of *row*."""
    ours = "" if row["ours"] == "ours" else f", {row['ours']}"
    folder = f" [{where(row)}]" if where(row) else ""
    return f"{row['case']}{ours}{folder}, against {row['other']}"


def draw(found: list[dict[str, object]], target: Path) -> None:
    """Draw each ratio as a bar on a logarithmic axis, with its aim as a black line."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in found if float(row["ratio"]) > 0][::-1]  # type: ignore[arg-type]
    figure, axes = plt.subplots(figsize=(9, 0.22 * len(rows) + 1.2), layout="constrained")
    ratios = [float(row["ratio"]) for row in rows]  # type: ignore[arg-type]
    aims = [float(row["at_most"] or 1) for row in rows]  # type: ignore[arg-type]
    colours = ["#2a7f62" if ratio <= aim else "#c05746" for ratio, aim in zip(ratios, aims, strict=True)]
    axes.barh(range(len(rows)), [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.6)
    for at, row in enumerate(rows):
        if row["at_most"]:
            axes.plot([row["at_most"]] * 2, [at - 0.4, at + 0.4], color="black", lw=1.5)  # type: ignore[list-item]
        axes.annotate(
            f"{ratios[at]:.2f}",
            (min(ratios[at], 1), at),
            (-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            size=8,
        )
    axes.set_yticks(range(len(rows)), [label(row) for row in rows], size=8)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_xscale("log")
    axes.axvline(1, color="grey", lw=0.8)
    axes.set_xlim(min(ratios) / 2.5, max(2.0, max(ratios) * 1.2))
    axes.set_xlabel("ours / the other's: time, or what else is measured\n(less is better; black: the aim)", loc="right")
    keep(figure, target, 100)
