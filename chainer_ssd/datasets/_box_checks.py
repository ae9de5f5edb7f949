"""Ground truth boxes that cannot be right, and those that hardly are."""

import warnings

import numpy as np

_NAMED_AT_MOST = 20


def is_valid(bbox):
    """bool (N,): finite and with area."""
    return np.isfinite(bbox).all(axis=1) & (bbox[:, :2] < bbox[:, 2:]).all(axis=1)


def warn_of_dropped(rows, owner, files):
    """Warns, once, that the boxes ``rows`` were left out, and names their files."""
    bad_files = [files[i] for i in np.unique(owner[rows])]
    more = len(bad_files) - _NAMED_AT_MOST
    warnings.warn(
        f'invalid boxes (inverted, without area or not finite) dropped: {len(rows)}, in '
        + ', '.join(bad_files[:_NAMED_AT_MOST])
        + (f' and {more} more files' if more > 0 else ''),
        stacklevel=4,
    )


def warn_of_suspects(bbox, size, owner, files):
    """Warns, once per suspicion, of valid boxes that look misunderstood.

    ``bbox`` (N, 4) in pixels, ``size`` (N, 2) = (H, W) of each box's image, NaN where unknown,
    ``files[owner[n]]`` the file of box n.
    """
    outside, fits_swapped = ~_fits(bbox, size), _fits(bbox[:, (1, 0, 3, 2)], size)
    for suspect, what in (
        (outside & ~fits_swapped, 'reach outside their image'),
        (outside & fits_swapped, 'fit their image only with x and y swapped'),
        ((bbox <= 1).all(axis=1), 'look like shares in [0, 1] where pixels are expected'),
    ):
        found = np.flatnonzero(suspect)
        if found.size:
            first = found[0]
            warnings.warn(
                f'boxes that {what}: {found.size}, in {len(set(owner[found]))} files; first in '
                f'{files[owner[first]]}: (y_min, x_min, y_max, x_max) = '
                f'{tuple(bbox[first].tolist())}',
                stacklevel=3,
            )


def _fits(bbox, size):
    # One pixel of slack on either side serves 0- and 1-based, inclusive and exclusive corners.
    # Written so that an unknown size, NaN, fits everything.
    return ~((bbox[:, :2] < -1).any(axis=1) | (bbox[:, 2:] > size).any(axis=1))
