import numpy as np
import pytest

from chainer_ssd.visualizations import label_color
from chainer_ssd.visualizations.colors import _EYES, ALARM, _lab, contrast_color


def least_distance(colors, eyes):
    lab = _lab(np.array(colors))[eyes]
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1)
    return distance[~np.eye(len(colors), dtype=bool)].min()


def test_lab_is_the_textbook_one():
    # Lindbloom's calculator, sRGB, D65
    lab = _lab(np.array([(255, 255, 255), (255, 0, 0), (0, 114, 178)]))[0]
    np.testing.assert_allclose(
        lab, [(100, 0, 0), (53.24, 80.09, 67.2), (45.9, -2.3, -42.3)], atol=1.5
    )


def test_white_is_white_to_all_eyes():
    np.testing.assert_allclose(_EYES.sum(axis=2), 1, atol=1e-4)


@pytest.mark.parametrize('eyes', range(3))
@pytest.mark.parametrize(('n', 'least'), [(7, 15), (20, 10), (96, 4)])
def test_classes_differ_to_all_eyes(eyes, n, least):
    # 2.3 is a just noticeable difference.
    colors = [label_color(label) for label in range(n)]
    assert len(set(colors)) == n
    assert least_distance(colors, eyes) > least


def test_no_class_looks_like_an_alarm():
    for label in range(96):
        assert least_distance([label_color(label), ALARM], 0) > 15


def test_a_label_has_one_colour():
    assert label_color(np.int32(3)) == label_color(3) == label_color(3 + 96)
    assert all(type(value) is int and 0 <= value <= 255 for value in label_color(50))


def test_letters_stand_out_from_every_colour():
    for label in range(96):
        ratio = sorted(
            _luminance(color) + 0.05
            for color in (label_color(label), contrast_color(label_color(label)))
        )
        assert ratio[1] / ratio[0] >= 4.5  # WCAG 2.1, level AA


def _luminance(color):
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
        for c in (value / 255 for value in color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_negative_label_is_an_error():
    with pytest.raises(ValueError, match='label = -1: expected 0 or more'):
        label_color(-1)
