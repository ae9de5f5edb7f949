"""Results as a table and as a plot."""

from pathlib import Path

from chainer_ssd._extras import require

COLUMNS = '{:<36} {:>9} {:>9} {:>9} {:>9}  {:>7} {:>15} {:>9}'


def table(case, timings):
    """Return one comparison as a table.

    Parameters
    ----------
    case : Case
        The comparison.
    timings : dict of str to Timing
        Its result.

    Returns
    -------
    str
        Several lines.
    """
    lines = [
        '',
        case.title,
        *([f'goal: {case.goal}'] if case.goal else []),
        COLUMNS.format(
            'function',
            'median ms',
            'min',
            'max',
            'x faster',
            'x floor',
            'peak MB (x in)',
            'items/s',
        ),
    ]
    for name, t in timings.items():
        has_peak = t.peak_bytes is not None and 'torch' not in name
        lines.append(
            COLUMNS.format(
                name,
                *(f'{1e3 * value:.2f}' for value in (t.median, t.minimum, t.maximum)),
                f'{t.speedup:.2f}',
                '' if t.floor_ratio is None else f'{t.floor_ratio:.2f}',
                f'{t.peak_bytes / 1e6:.1f} ({t.peak_bytes / case.input_bytes:.2f})'
                if has_peak
                else '',
                f'{case.items_per_call / t.median:.0f}' if case.items_per_call else '',
            ).rstrip()
        )
    return '\n'.join(lines)


def plot(results, path):
    """Draw medians as bars and ranges as lines, one row of the figure per comparison.

    Parameters
    ----------
    results : list of (Case, dict of str to Timing)
        Comparisons and their timings.
    path : pathlib.Path
        File to write.
    """
    require('matplotlib', 'plot').use('Agg')
    pyplot = require('matplotlib.pyplot', 'plot')
    bars = sum(len(timings) for _, timings in results)
    figure, axes = pyplot.subplots(
        len(results),
        figsize=(9, 0.32 * bars + 0.8 * len(results)),
        squeeze=False,
        gridspec_kw={'height_ratios': [len(timings) + 1 for _, timings in results]},
    )
    for axis, (case, timings) in zip(axes[:, 0], results):
        names, values = list(timings), list(timings.values())
        medians = [1e3 * t.median for t in values]
        spread = [
            [1e3 * (t.median - t.minimum) for t in values],
            [1e3 * (t.maximum - t.median) for t in values],
        ]
        colors = [
            'tab:gray' if name in (case.floor, case.reference) else 'tab:blue' for name in names
        ]
        axis.barh(names, medians, xerr=spread, color=colors, ecolor='black', capsize=2)
        axis.invert_yaxis()
        axis.set_title(case.title, fontsize=9, loc='left')
        axis.tick_params(labelsize=8)
        for row, t in enumerate(values):
            axis.annotate(
                f' {1e3 * t.median:.3g} ms, {t.speedup:.3g} x',
                (1e3 * t.maximum, row),
                va='center',
                fontsize=8,
            )
        axis.set_xlim(0, 1.35e3 * max(t.maximum for t in values))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def processor():
    """Return the processor's name, or an empty string if Linux does not report it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return ''
    return next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), '')
