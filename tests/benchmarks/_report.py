"""What was measured, as text and as a picture."""

from pathlib import Path

from chainer_ssd._extras import require

COLUMNS = '{:<36} {:>9} {:>9} {:>9} {:>9}  {:>7} {:>15} {:>9}'


def table(case, timings):
    """One comparison as text.

    Parameters
    ----------
    case : Case
        What was compared.
    timings : dict of str to Timing
        What came out.

    Returns
    -------
    str
        Several lines.
    """
    lines = [
        '',
        case.title,
        *([f'asked: {case.asked}'] if case.asked else []),
        COLUMNS.format(
            'way', 'median ms', 'min', 'max', 'x faster', 'x floor', 'peak MB (x in)', 'items/s'
        ),
    ]
    for name, t in timings.items():
        known = t.peak is not None and 'torch' not in name
        lines.append(
            COLUMNS.format(
                name,
                *(f'{1e3 * value:.2f}' for value in (t.median, t.minimum, t.maximum)),
                f'{t.times_faster:.2f}',
                '' if t.times_floor is None else f'{t.times_floor:.2f}',
                f'{t.peak / 1e6:.1f} ({t.peak / case.logits:.2f})' if known else '',
                f'{case.per_call / t.median:.0f}' if case.per_call else '',
            ).rstrip()
        )
    return '\n'.join(lines)


def plot(done, path):
    """Draws medians as bars, minimum to maximum as lines, one row for each comparison.

    Parameters
    ----------
    done : list of (Case, dict of str to Timing)
        What was measured.
    path : pathlib.Path
        File to write.
    """
    require('matplotlib', 'plot').use('Agg')
    pyplot = require('matplotlib.pyplot', 'plot')
    bars = sum(len(timings) for _, timings in done)
    figure, axes = pyplot.subplots(
        len(done),
        figsize=(9, 0.32 * bars + 0.8 * len(done)),
        squeeze=False,
        gridspec_kw={'height_ratios': [len(timings) + 1 for _, timings in done]},
    )
    for axis, (case, timings) in zip(axes[:, 0], done):
        names, values = list(timings), list(timings.values())
        medians = [1e3 * t.median for t in values]
        spread = [
            [1e3 * (t.median - t.minimum) for t in values],
            [1e3 * (t.maximum - t.median) for t in values],
        ]
        colours = [
            'tab:gray' if name in (case.floor, case.reference) else 'tab:blue' for name in names
        ]
        axis.barh(names, medians, xerr=spread, color=colours, ecolor='black', capsize=2)
        axis.invert_yaxis()
        axis.set_title(case.title, fontsize=9, loc='left')
        axis.tick_params(labelsize=8)
        for row, t in enumerate(values):
            axis.annotate(
                f' {1e3 * t.median:.3g} ms, {t.times_faster:.3g} x',
                (1e3 * t.maximum, row),
                va='center',
                fontsize=8,
            )
        axis.set_xlim(0, 1.35e3 * max(t.maximum for t in values))
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def processor():
    """The processor's name, as Linux says it."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return ''
    return next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), '')
