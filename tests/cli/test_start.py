"""What a training states about what it starts from."""

import pytest

from chainer_ssd.cli._start import describe_fit
from chainer_ssd.ops import DefaultBoxFit


@pytest.mark.parametrize(
    'before, is_enough', [(0.813, True), (0.97, True), (0.98, False), (0.999, False)]
)
def test_a_fit_that_brings_little_is_called_so(before, is_enough):
    fit = DefaultBoxFit((0.1, 0.2), ((2, 1.5),), 0.993, before, 0.7, 0.6, 400, 340)
    text = describe_fit(fit, 0.5)
    assert 'IoU >= 0.5: 99.3% ' in text and f'(before: {before:.1%})' in text
    assert 'input: 0.1, 0.2. Aspect ratios of each scale: 2, 1.5' in text
    assert ('hardly more objects can be matched' in text) != is_enough
