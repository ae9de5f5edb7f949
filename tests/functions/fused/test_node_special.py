"""The node against the definition on logits with ties, NaN, inf and extreme values."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.functions.fused.test_node import assert_equals_definition, make

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 64.0, -64.5, 1e4, -1e4, 6e4, 1e-7]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    n_box=st.integers(1, 150),
    n_class=st.integers(2, 30),
    dtype=st.sampled_from('efd'),
    positive_fraction=st.sampled_from([0, 0.03, 0.3]),
    k=st.sampled_from([0, 0.3, 1, 3, 7, 1e30]),
    step=st.sampled_from([0, 0.25, 1, 4]),
    special=st.sampled_from(SPECIAL),
    n_special=st.sampled_from([0, 1, 5, 50]),
)
def test_equals_the_definition(
    seed, batch, n_box, n_class, dtype, positive_fraction, k, step, special, n_special
):
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make(
        seed, batch, n_box, n_class, dtype, positive_fraction
    )
    if step:  # few different values, so many losses are equal
        mb_confs = (np.rint(mb_confs / step) * step).astype(dtype)
    flat = mb_confs.reshape(-1)
    flat[np.random.default_rng(seed).integers(0, flat.size, n_special)] = special
    with np.errstate(all='ignore'):
        assert_equals_definition(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k)
