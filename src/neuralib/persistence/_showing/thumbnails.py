"""Small pictures of arrays for HTML: a line for one dimension, an image for two. Large arrays are sampled."""

from __future__ import annotations

import base64
import importlib.util
import io
from typing import Any

_WIDTH, _HEIGHT = 120, 32  # of a line picture, in SVG units
_MAX_SAMPLES = 2_400  # of a one-dimensional array: twenty for each column of the picture
_MAX_ROWS, _MAX_COLUMNS = 64, 160  # of a two-dimensional array
_KINDS = "biuf"  # of dtypes that have a picture: bool, integers and floats


def thumbnail(array: Any) -> str:
    """Return a picture of *array* as HTML, or an empty text if there is none.

    Pictures of two-dimensional arrays need matplotlib, for its colour map.
    """
    shape = getattr(array, "shape", ())
    kind = getattr(getattr(array, "dtype", None), "kind", "")
    if kind not in _KINDS or not kind or not shape or min(shape) < 2 or len(shape) > 2:
        return ""
    try:
        return _line(array) if len(shape) == 1 else _image(array)
    except Exception:  # a failed picture must not hide the result
        return ""


def _scaled(samples: Any) -> Any:
    """Return *samples* scaled to 0 to 1, with infinities as NaN. Return None if all of them are NaN."""
    import numpy as np

    values = np.array(samples, dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        return None
    low, high = np.nanmin(values), np.nanmax(values)
    if low == high:
        return np.where(np.isnan(values), np.nan, 0.5)
    return (values / 2 - low / 2) / (high / 2 - low / 2)  # halved first: high - low can overflow


def _line(array: Any) -> str:
    import numpy as np

    step = -(-array.shape[0] // _MAX_SAMPLES)
    values = _scaled(array[::step])
    if values is None:
        return ""
    points = _column_extremes(values)
    xs = np.linspace(0, _WIDTH, len(points))
    ys = 1 + (_HEIGHT - 2) * (1 - points)
    commands, pen_up = [], True
    for x, y in zip(xs, ys, strict=True):
        if y != y:  # noqa: PLR0124 - NaN leaves a gap in the line
            pen_up = True
            continue
        commands.append(f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}")
        pen_up = False
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" preserveAspectRatio="none" role="img">'
        f'<path d="{"".join(commands)}" fill="none" stroke="currentColor" stroke-width="1" opacity=".75"/></svg>'
    )


def _column_extremes(values: Any) -> Any:
    """Return the lowest and the highest value of each column of the picture, or all *values* if they are few."""
    import numpy as np

    if len(values) <= 2 * _WIDTH:
        return values
    extremes = []
    for column in np.array_split(values, _WIDTH):
        finite = column[~np.isnan(column)]
        extremes += [finite.min(), finite.max()] if finite.size else [np.nan, np.nan]
    return np.array(extremes)


def _image(array: Any) -> str:
    if importlib.util.find_spec("matplotlib") is None:
        return ""
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.image import imsave

    steps = [-(-size // limit) for size, limit in zip(array.shape, (_MAX_ROWS, _MAX_COLUMNS), strict=True)]
    values = _scaled(array[:: steps[0], :: steps[1]])
    if values is None:
        return ""
    file = io.BytesIO()
    imsave(file, colormaps["viridis"](np.ma.masked_invalid(values)), format="png")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"/>'
