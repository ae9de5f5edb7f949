"""A batch has the detections of its images, on the device as on the CPU."""

import numpy as np
import pytest

from chainer_ssd import MultiboxCoder
from chainer_ssd.links import _device_decoding
from chainer_ssd.links._device_decoding import decode_on_device
from tests.helpers import to_numpy

SPEC = {'grids': (8, 4), 'aspect_ratios': ((2,), (2, 3)), 'steps': (8, 16), 'sizes': (10, 24, 40)}
OPTIONS = [
    {},
    {'nms_thresh': None},
    {'nms_thresh': 0.1, 'score_thresh': 0.05},
    {'score_thresh': 0},
    {'score_thresh': 0.1, 'nms_top_k': 7},
    {'score_thresh': 0.1, 'nms_top_k': 7, 'nms_thresh': None},
    {'score_thresh': 0.1, 'keep_top_k': 9},
    {'score_thresh': 0.1, 'nms_top_k': 20, 'keep_top_k': 5, 'nms_thresh': None},
    {'score_thresh': 1},
]


def make(coder, seed, dtype='f'):
    """Return predictions with ties, and with an image without detections."""
    rng = np.random.default_rng(seed)
    shape = 4, len(coder.default_bbox)
    mb_locs = np.round(rng.normal(size=(*shape, 4)) * rng.choice([0, 2]))
    mb_confs = np.round(rng.normal(size=(*shape, 4)) * 3)
    mb_confs[1] = 0
    mb_confs[1, :, 0] = 99
    return mb_locs.astype(dtype), mb_confs.astype(dtype)


@pytest.fixture
def padded(monkeypatch):
    """Decode NumPy arrays with the steps for a device."""
    used = []

    def as_on_device(xp, *args):
        used.append(decode_on_device(np, *map(to_numpy, args[:1]), *args[1:]))
        return used[-1]

    from chainer_ssd.links import multibox_coder

    monkeypatch.setattr(multibox_coder, 'decode_on_device', as_on_device)
    # The module of predictions that are not NumPy's.
    monkeypatch.setattr(
        multibox_coder, 'get_array_module', lambda array: np if array.ndim == 2 else AsNumPy()
    )
    return used


class AsNumPy:
    def __getattr__(self, name):
        return getattr(np, name)


@pytest.mark.parametrize('dtype', 'fde')
@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_the_steps_for_a_device_give_the_detections_of_one_image(padded, options, dtype):
    coder = MultiboxCoder(**SPEC)
    for seed in range(6):
        mb_locs, mb_confs = make(coder, seed, dtype)
        batch = coder.decode_batch(mb_locs, mb_confs, **options)
        assert padded[-1] is not None
        images = [coder.decode(*each, **options) for each in zip(mb_locs, mb_confs)]
        for found, expected in zip(batch, zip(*images)):
            assert isinstance(found, list) and len(found) == len(expected)
            for a, b in zip(found, expected):
                assert a.dtype == b.dtype
                np.testing.assert_array_equal(a, b)


def test_a_score_that_equals_the_threshold_is_a_detection(padded):
    coder = MultiboxCoder(**SPEC)
    mb_locs, mb_confs = make(coder, 0)
    mb_confs[2] = 0  # four classes with a score of 1/4
    bboxes, labels, _ = coder.decode_batch(mb_locs, mb_confs, None, 0.25)
    assert padded[-1] is not None
    assert len(bboxes[2]) == 3 * len(coder.default_bbox) and set(labels[2]) == {0, 1, 2}


def test_a_class_with_too_many_boxes_is_decoded_on_the_cpu(padded, monkeypatch):
    coder = MultiboxCoder(**SPEC)
    mb_locs, mb_confs = make(coder, 0)
    expected = coder.decode_batch(mb_locs, mb_confs, score_thresh=0.1)
    assert padded[-1] is not None
    monkeypatch.setattr(_device_decoding, 'MAX_BOXES_OF_CLASS', 5)
    found = coder.decode_batch(mb_locs, mb_confs, score_thresh=0.1)
    assert padded[-1] is None
    for a, b in zip(sum(found, []), sum(expected, [])):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('which', [0, 1])
@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_a_prediction_that_is_not_finite_is_named(padded, which, value):
    coder = MultiboxCoder(**SPEC)
    predictions = make(coder, 0)
    predictions[which][2, 5, 1] = value
    name = ('mb_loc', 'mb_conf')[which]
    with pytest.raises(ValueError, match=rf'^image 2: {name}\[5\] = .*expected finite predictions'):
        coder.decode_batch(*predictions)
    assert padded[-1] is None


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_a_batch_equals_its_images(xp, options):
    coder = MultiboxCoder(**SPEC)
    predictions = make(coder, 1)
    images = [coder.decode(*each, **options) for each in zip(*predictions)]
    for default_bbox in (coder.default_bbox, xp.asarray(coder.default_bbox)):
        coder.default_bbox = default_bbox
        batch = coder.decode_batch(*map(xp.asarray, predictions), **options)
        for found, expected in zip(batch, zip(*images)):
            for a, b in zip(found, expected):
                assert isinstance(a, np.ndarray) and a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4)


def test_batches_without_images(xp):
    coder = MultiboxCoder(**SPEC)
    n = len(coder.default_bbox)
    assert coder.decode_batch(xp.zeros((0, n, 4), 'f'), xp.zeros((0, n, 3), 'f')) == ([], [], [])


def test_shapes_and_options_are_checked():
    coder = MultiboxCoder(**SPEC)
    mb_locs, mb_confs = make(coder, 0)
    n = len(coder.default_bbox)
    message = rf'mb_locs has shape .* and mb_confs .*: expected \(B, {n}, 4\) and \(B, {n}, C\)'
    for wrong in ((mb_locs[0], mb_confs[0]), (mb_locs[:3], mb_confs), (mb_locs[:, 1:], mb_confs)):
        with pytest.raises(ValueError, match=message):
            coder.decode_batch(*wrong)
    with pytest.raises(ValueError, match='score_thresh = 2'):
        coder.decode_batch(mb_locs, mb_confs, score_thresh=2)
    with pytest.raises(ValueError, match='keep_top_k = 0'):
        coder.decode_batch(mb_locs, mb_confs, keep_top_k=0)
