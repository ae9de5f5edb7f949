import chainer
import numpy as np
import pytest

from chainer_ssd.functions import hard_negative_limit, n_hard_negative
from tests.helpers import to_numpy


@pytest.mark.parametrize(
    ('n_positive', 'n_negative', 'k', 'expected'),
    [
        (2, 100, 3, 6),
        (2, 5, 3, 5),
        (0, 100, 3, 0),
        (3, 100, 0.5, 2),
        (25, 100, 0.28, 8),  # 0.28 · 25 is 7.000000000000001 in float64
        (1, 7, 1e300, 7),
        (4, 9, 0, 0),
    ],
)
def test_the_number_of_hard_negatives(xp, n_positive, n_negative, k, expected):
    found = hard_negative_limit(xp.asarray([n_positive]), xp.asarray([n_negative]), k)
    assert found.dtype == np.int64 and found.tolist() == [expected]
    assert hard_negative_limit(n_positive, n_negative, k) == expected
    labels = np.repeat([1, 0, -1], [n_positive, n_negative, 2])[None]
    assert to_numpy(n_hard_negative(xp.asarray(labels), k)).tolist() == [expected]


def test_use_fused_multibox_is_a_config_entry():
    assert chainer.global_config.use_fused_multibox == 'auto'
