"""The parts for a backbone of one's own refuse what does not fit together."""

import chainer
import numpy as np
import pytest

from chainer_ssd import MultiboxCoder
from chainer_ssd.links import SSD, GroundTruthConverter, Multibox


def coder_of():
    return MultiboxCoder((4, 2), ((2,), (2,)), (16, 32), (10, 20, 30))


def test_two_models_may_share_a_coder():
    coder = coder_of()
    first, second = SSD(3, 64, coder, box_scale=0.5), SSD(3, 64, coder, box_scale=0.5)
    np.testing.assert_array_equal(coder.default_bbox, coder_of().default_bbox)
    for model in first, second:
        np.testing.assert_array_equal(
            model.coder.default_bbox[:, 2:], coder.default_bbox[:, 2:] / 2
        )


def test_a_subclass_without_layers_says_so():
    class Empty(SSD):
        def __init__(self):
            super().__init__(3, 64, coder_of())
            with self.init_scope():
                self.scale = chainer.Parameter(np.ones(1, 'f'))

    with pytest.raises(NotImplementedError, match='Empty does not define forward_layers'):
        Empty()(np.zeros((1, 3, 64, 64), 'f'))


def test_channels_and_aspect_ratios_must_agree():
    with pytest.raises(ValueError, match='3 channels and 1 aspect_ratios'):
        Multibox(3, (3, 4, 5), ((2,),))
    head = Multibox(3, (3, 4), ((2,), (2,)))
    with pytest.raises(ValueError, match='1 features: expected 2 feature maps'):
        head([np.zeros((1, 3, 4, 4), 'f')])
    with pytest.raises((TypeError, ValueError), match='n_class = '):
        Multibox(0, (3,), ((2,),))


def test_a_batch_with_and_without_flags_is_an_error():
    img, bbox, label = np.zeros((3, 4, 4), 'f'), np.zeros((0, 4), 'f'), np.zeros(0, 'i')
    for examples in ([(img, bbox, label), (img, bbox, label, [])], [(img, bbox)]):
        with pytest.raises(ValueError, match='examples have .* entries: expected'):
            GroundTruthConverter()(examples, chainer.get_device('@numpy'))
