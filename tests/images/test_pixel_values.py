"""Images whose values would be misread are refused by everything that writes or draws."""

import numpy as np
import pytest

from chainer_ssd import draw_bbox, draw_detection, draw_match, write_image
from chainer_ssd.images import resize_image
from chainer_ssd.visualizations import tile_images

IMG = np.random.default_rng(0).integers(0, 256, (3, 60, 80))
BBOX = [(2, 3, 40, 50)]
WRITERS = {
    'write_image': lambda img, path: write_image(img, path / 'a.png'),
    'draw_bbox': lambda img, path: draw_bbox(img, BBOX),
    'draw_detection': lambda img, path: draw_detection(img, BBOX, None, None, BBOX, None),
    'draw_match': lambda img, path: draw_match(
        img, BBOX, None, np.array([0]), np.array([(20, 20, 30, 30)], 'f')
    ),
}
WRONG = {
    'scaled to [0, 1]': IMG / 255,
    'without its mean': IMG - 127.0,
    '16 bits': (IMG * 257).astype(np.uint16),
    'NaN': np.where(IMG > 100, np.nan, IMG),
    'bool': IMG > 100,
    'str': IMG.astype(str),
    'object': IMG.astype(object),
    '(H, W, 3)': IMG.transpose(1, 2, 0),
    'None': 3,
}


@pytest.mark.parametrize('write', WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize('kind', WRONG)
def test_values_that_would_be_misread_are_an_error(tmp_path, write, kind):
    with pytest.raises((TypeError, ValueError), match='^img has .*expected'):
        write(WRONG[kind], tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('write', WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize('dtype', ['u1', 'i8', 'f', 'd'])
def test_any_number_type_is_accepted(tmp_path, write, dtype):
    write(IMG.astype(dtype), tmp_path)


def test_without_an_image_a_white_one_holds_the_boxes():
    img = draw_bbox(None, [(10, 20, 50, 90), (0, 0, 30, 30)], [0, 1], label_names=['a', 'b'])
    assert img.shape == (3, 66, 106)
    assert (img == 255).mean() > 0.5 and (img < 255).any()
    assert draw_bbox(None, []).shape == (3, 16, 16)
    assert max(draw_bbox(None, [(0, 0, 1e9, 1e9)]).shape) == 4096


def test_boxes_far_outside_need_no_memory():
    far = 1e15
    for bbox in [(far, far, 2 * far, 2 * far)], [(-far, -far, far, far)], [(0, 0, far, 1)]:
        for index in (0, -1):
            draw_match(IMG, bbox, None, np.array([index]), np.array([(20, 20, far, 30)]))
        draw_bbox(IMG, bbox)
        draw_detection(IMG, bbox, None, None, bbox, None)


def test_a_scale_beyond_the_boxes_is_an_error():
    with pytest.raises(ValueError, match=r'scale\[0\] = 1000000000: expected 0 to 0'):
        draw_match(
            IMG, BBOX, None, np.array([0]), np.array([(20, 20, 30, 30)], 'f'), np.array([10**9])
        )


def test_a_score_of_nan_is_an_error():
    with pytest.raises(ValueError, match=r'score\[0\] = nan'):
        draw_bbox(IMG, BBOX, [0], [np.nan])


@pytest.mark.parametrize('n_channel', [1, 2, 4, 7])
@pytest.mark.parametrize('dtype', ['f', 'u1'])
def test_images_of_any_number_of_channels_are_resized(n_channel, dtype):
    img = np.random.default_rng(0).integers(0, 256, (n_channel, 20, 30)).astype(dtype)
    resized = resize_image(img, (10, 12))
    assert resized.shape == (n_channel, 10, 12) and resized.dtype == dtype
    three = resize_image(np.stack([img[0]] * 3), (10, 12))
    np.testing.assert_array_equal(resized[0], three[0])


@pytest.mark.parametrize('size', [(0, 3), (3, 1.5), (-1, 2), (None, 3)])
def test_a_wrong_size_is_named(size):
    with pytest.raises((TypeError, ValueError), match=r'size\[[01]\] = '):
        resize_image(IMG.astype('f'), size)


def test_tiles_are_images():
    assert tile_images([IMG.astype('u1')] * 2).shape[0] == 3
