"""Curves as inline SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

from chainer_ssd.inspection._page_head import escape

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 40
_N_TICK = 5


class Curve(NamedTuple):
    """Points that a line joins. ``color`` is one of CSS."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    color: str


def line_chart(
    curves: Sequence[Curve], x_label: str, title: str, y_max: float | None = None
) -> str:
    """Return curves over axes that begin at 0, with a legend below.

    Parameters
    ----------
    curves : sequence of Curve
        Points that are not finite are left out.
    x_label, title : str
        The horizontal axis, and what the chart shows.
    y_max : float, optional
        End of the vertical axis. Default: the largest y.
    """
    curves = [_finite(curve) for curve in curves]
    x_max = max((x for curve in curves for x in curve.x), default=0) or 1
    y_end = y_max or max((y for curve in curves for y in curve.y), default=0) or 1
    out = io.StringIO()
    out.write(f'<figure><figcaption>{escape(title)}</figcaption>')
    out.write(f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">')
    for value in _ticks(y_end):
        y = _place_y(value, y_end)
        out.write(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="var(--line)"/><text x="{_LEFT - 6}" y="{y + 4:.1f}" font-size="12" '
            f'text-anchor="end">{value:.10g}</text>'
        )
    for value in _ticks(x_max):
        x = _place_x(value, x_max)
        out.write(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" font-size="12" '
            f'text-anchor="middle">{value:.10g}</text>'
        )
    out.write(
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" font-size="12" '
        f'text-anchor="middle">{escape(x_label)}</text>'
    )
    for curve in curves:
        points = ' '.join(
            f'{_place_x(x, x_max):.1f},{_place_y(min(y, y_end), y_end):.1f}'
            for x, y in zip(curve.x, curve.y)
        )
        style = f'fill="none" stroke="{curve.color}" stroke-width="2" stroke-linejoin="round"'
        out.write(f'<polyline points="{points}" {style}/>')
        if len(curve.x) == 1:
            cx, cy = points.split(',')
            out.write(f'<circle cx="{cx}" cy="{cy}" r="3" fill="{curve.color}"/>')
    out.write('</svg><p class="legend">')
    for curve in curves:
        out.write(f'<span><i style="background:{curve.color}"></i>{escape(curve.name)}</span> ')
    out.write('</p></figure>')
    return out.getvalue()


def _finite(curve: Curve) -> Curve:
    points = [
        (float(x), float(y)) for x, y in zip(curve.x, curve.y) if math.isfinite(x + y) and y >= 0
    ]
    return curve._replace(x=[x for x, _ in points], y=[y for _, y in points])


def _ticks(end: float) -> list[float]:
    """Return round numbers from 0 to the end of an axis."""
    rough = end / _N_TICK
    power = 10 ** math.floor(math.log10(rough))
    step = next((n * power for n in (1, 2, 5) if n * power >= rough * 0.999), 10 * power)
    return [i * step for i in range(int(end / step * 1.0001) + 1)]


def _place_x(x: float, x_max: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * x / x_max


def _place_y(y: float, y_end: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * y / y_end
