"""Small pictures of arrays, for HTML: a line for one dimension, colours for two. Large arrays are looked at in samples."""

from __future__ import annotations

import base64
import importlib.util
import io
from typing import Any

_WIDTH, _HEIGHT = 120, 32  # of a line, in units of its picture
_MOST_SAMPLES = 2_400  # of an array of one dimension: twenty for each column of the picture
_MOST_ROWS, _MOST_COLUMNS = 64, 160  # of two dimensions
_KINDS = "biuf"


def thumbnail(array: Any) -> str:
    """Return a picture of *array* as HTML; nothing where it has none.

    That of two dimensions needs matplotlib, for its colours.
    """
    shape = getattr(array, "shape", ())
    kind = getattr(getattr(array, "dtype", None), "kind", "")
    if kind not in _KINDS or not kind or not shape or min(shape) < 2 or len(shape) > 2:
        return ""
    try:
        return _line(array) if len(shape) == 1 else _image(array)
    except Exception:  # a picture is never worth an error
        return ""


def _scaled(samples: Any) -> Any:
    """Return *samples* between 0 and 1, what is no number as NaN; None where there is nothing to see."""
    import numpy as np

    values = np.array(samples, dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        return None
    low, high = np.nanmin(values), np.nanmax(values)
    if low == high:
        return np.where(np.isnan(values), np.nan, 0.5)
    return (values / 2 - low / 2) / (high / 2 - low / 2)  # halves: the largest numbers have no difference


def _line(array: Any) -> str:
    import numpy as np

    step = -(-array.shape[0] // _MOST_SAMPLES)
    values = _scaled(array[::step])
    if values is None:
        return ""
    points = _columns(values)
    places = np.linspace(0, _WIDTH, len(points))
    heights = 1 + (_HEIGHT - 2) * (1 - points)
    parts, pen_up = [], True
    for x, y in zip(places, heights, strict=True):
        if y != y:  # noqa: PLR0124 - a NaN is a gap
            pen_up = True
            continue
        parts.append(f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}")
        pen_up = False
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" preserveAspectRatio="none" role="img">'
        f'<path d="{"".join(parts)}" fill="none" stroke="currentColor" stroke-width="1" opacity=".75"/></svg>'
    )


def _columns(values: Any) -> Any:
    """Return *values*, where there are many as the lowest and highest of each column of the picture."""
    import numpy as np

    if len(values) <= 2 * _WIDTH:
        return values
    found = []
    for part in np.array_split(values, _WIDTH):
        known = part[~np.isnan(part)]
        found += [known.min(), known.max()] if known.size else [np.nan, np.nan]
    return np.array(found)


def _image(array: Any) -> str:
    if importlib.util.find_spec("matplotlib") is None:
        return ""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.image import imsave

    rows, columns = (-(-size // most) for size, most in zip(array.shape, (_MOST_ROWS, _MOST_COLUMNS), strict=True))
    values = _scaled(array[::rows, ::columns])
    if values is None:
        return ""
    file = io.BytesIO()
    imsave(file, colormaps["viridis"](np.ma.masked_invalid(values)), format="png")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"/>'
