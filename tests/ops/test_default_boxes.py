import numpy as np
import pytest

from chainer_ssd import generate_default_bbox
from chainer_ssd.ops import SSD300_SPEC, SSD512_SPEC


@pytest.mark.parametrize(('spec', 'count'), [(SSD300_SPEC, 8732), (SSD512_SPEC, 24564)])
def test_the_number_of_boxes_is_that_of_the_paper(spec, count):
    default_bbox = generate_default_bbox(**spec)
    assert default_bbox.shape == (count, 4)
    assert default_bbox.dtype == np.float32
    assert (default_bbox > 0).all()


def test_order_and_shapes_of_one_cell():
    default_bbox = generate_default_bbox((2,), ((4,),), (10,), (8, 18))
    np.testing.assert_allclose(
        default_bbox[:8],
        [
            (5, 5, 8, 8),
            (5, 5, 12, 12),
            (5, 5, 4, 16),
            (5, 5, 16, 4),
            (5, 15, 8, 8),
            (5, 15, 12, 12),
            (5, 15, 4, 16),
            (5, 15, 16, 4),
        ],
    )
    np.testing.assert_allclose(default_bbox[8, :2], (15, 5))


def test_boxes_are_ordered_by_scale():
    default_bbox = generate_default_bbox((2, 1), ((), (2,)), (10, 20), (8, 16, 24))
    assert len(default_bbox) == 2 * 2 * 2 + 4
    np.testing.assert_allclose(default_bbox[8], (10, 10, 16, 16))
    np.testing.assert_allclose(default_bbox[9, 2:], np.sqrt(16 * 24))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'sizes': (8,)}, 'expected S, S, S and S'),
        ({'steps': (10, 10)}, 'expected S, S, S and S'),
        ({'grids': (0,)}, r'grids\[0\] = 0: expected'),
        ({'aspect_ratios': ((-2,),)}, r'aspect_ratios\[0\]'),
        ({'sizes': (8, float('nan'))}, 'sizes'),
    ],
)
def test_a_wrong_spec_is_named(change, message):
    spec = {'grids': (2,), 'aspect_ratios': ((2,),), 'steps': (10,), 'sizes': (8, 16), **change}
    with pytest.raises(ValueError, match=message):
        generate_default_bbox(**spec)
