import numpy as np
import pytest

from chainer_ssd.transforms import DistortTransform

NO_CHANGE = {'brightness': 0, 'contrast': (1, 1), 'saturation': (1, 1), 'hue': 0}


def distorted(img, seeds=100, **options):
    """Return img distorted with many seeds. ``options`` replace those of NO_CHANGE."""
    transform = DistortTransform(**{**NO_CHANGE, **options})
    return np.array(
        [transform((img, [], []), np.random.default_rng(seed))[0] for seed in range(seeds)]
    )


def some_img(seed=0):
    # Each channel holds all 256 levels in its own random order.
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(256) for _ in range(3)]).reshape(3, 16, 16).astype('f')


def test_brightness_adds_one_number_and_clips():
    img = some_img()
    shifts = set()
    for result in distorted(img, brightness=32):
        inside = (0 < result) & (result < 255)
        shift = result - img
        assert np.ptp(shift[inside]) == 0
        shift = shift[inside][0]
        np.testing.assert_array_equal(result, (img + shift).clip(0, 255))
        shifts.add(shift)
    assert -32 <= min(shifts) < -20 and 20 < max(shifts) <= 32
    assert len(shifts) > 20


def test_contrast_multiplies_by_one_number():
    img = some_img()
    factors = []
    for result in distorted(img, contrast=(0.5, 1.5)):
        inside = (100 < img) & (result < 255)
        factor = np.median(result[inside] / img[inside])
        np.testing.assert_allclose(result, (img * factor).clip(0, 255), atol=2)
        factors.append(factor)
    assert 0.5 <= min(factors) < 0.6 and 1.4 < max(factors) <= 1.5


def test_saturation_keeps_the_largest_channel_and_scales_the_distance_to_it():
    img = some_img()
    factors = []
    for result in distorted(img, saturation=(0, 1)):
        top = img.max(axis=0)
        np.testing.assert_allclose(result.max(axis=0), top, atol=2)
        factor = np.median(((top - result) / np.maximum(top - img, 1))[top - img > 100])
        np.testing.assert_allclose(top - result, factor * (top - img), atol=6)
        factors.append(factor)
    assert min(factors) < 0.1 and max(factors) == 1


def test_hue_of_red_is_shifted_within_the_bound_and_grey_is_unchanged():
    red = np.zeros((3, 2, 2), 'f')
    red[0] = 240
    results = distorted(red, hue=60)[:, :, 0, 0]
    # Yellow (240, 240, 0) and magenta (240, 0, 240) are 60 degrees from red.
    assert (results[:, 0] == 240).all() and (results[:, 1:].min(axis=1) == 0).all()
    assert results[:, 1].max() > 200 and results[:, 2].max() > 200
    grey = np.full((3, 2, 2), 77, 'f')
    assert (distorted(grey, hue=60, saturation=(0.5, 1.5)) == 77).all()


def test_each_change_has_probability_one_half():
    img = some_img()
    for options in ({'brightness': 32}, {'contrast': (0.5, 1.5)}):
        changed = [(result != img).any() for result in distorted(img, 400, **options)]
        assert 160 < sum(changed) < 240


def test_contrast_comes_before_or_after_the_colours():
    img = np.reshape(np.array((100, 200, 240), 'f'), (3, 1, 1)) + np.zeros((3, 4, 4), 'f')
    seen = {
        tuple(result[:, 0, 0])
        for result in distorted(img, 400, contrast=(1.5, 1.5), saturation=(0.5, 0.5))
    }
    expected = np.array(
        [
            (100, 200, 240),  # no change
            (150, 255, 255),  # contrast
            (170, 220, 240),  # saturation, which halves the distance to 240
            (255, 255, 255),  # saturation, then contrast
            (203, 255, 255),  # contrast, then saturation, which halves the distance to 255
        ]
    )
    np.testing.assert_allclose(sorted(seen), sorted(expected.tolist()), atol=1)


def test_boxes_and_labels_pass_through():
    bbox, label = np.array([(1, 2, 3, 4)], 'f'), np.array([5])
    _, new_bbox, new_label = DistortTransform()((some_img(), bbox, label), np.random.default_rng(0))
    np.testing.assert_array_equal(new_bbox, bbox)
    assert new_label is label


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'brightness': -1}, 'brightness = -1: expected a finite number >= 0'),
        ({'hue': float('nan')}, 'hue = nan'),
        (
            {'contrast': (1.5, 0.5)},
            r'contrast = \(1.5, 0.5\): expected \(low, high\) with 0 <= low <= high$',
        ),
        ({'saturation': (-1, 0.5)}, r'saturation = \(-1, 0.5\)'),
        ({'saturation': (0, float('inf'))}, r'saturation\[1\] = inf: expected a finite number'),
    ],
)
def test_error_names_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        DistortTransform(**arguments)
