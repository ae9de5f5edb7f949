import numpy as np
import pytest

from chainer_ssd.visualizations import label_color
from chainer_ssd.visualizations.colors import RED, contrast_color

# Machado et al. (2009), "A Physiologically-based Model for Simulation of Color Vision Deficiency":
# linear RGB as seen with normal vision, protanopia and deuteranopia.
VISIONS = np.array(
    [
        [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.01182, 0.04294, 0.968881],
        ],
    ]
)
# sRGB's linear RGB to CIE XYZ, relative to its white (D65)
XYZ = np.array([[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1094, 0.8729]])


def linear_rgb(colors):
    value = np.array(colors) / 255
    return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)


def cielab(colors, vision=0):
    xyz = (linear_rgb(colors) @ VISIONS[vision].T).clip(0, 1) @ XYZ.T
    # L = 116 f(Y) − 16, a = 500 (f(X) − f(Y)), b = 200 (f(Y) − f(Z))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def minimum_distance(colors, vision=0):
    lab = cielab(colors, vision)
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1)
    return distance[~np.eye(len(colors), dtype=bool)].min()


def test_cielab_has_the_published_values():
    # Lindbloom's calculator, sRGB, D65
    lab = cielab([(255, 255, 255), (255, 0, 0), (0, 114, 178)])
    np.testing.assert_allclose(
        lab, [(100, 0, 0), (53.24, 80.09, 67.2), (45.9, -2.3, -42.3)], atol=1.5
    )


@pytest.mark.parametrize('vision', range(3))
@pytest.mark.parametrize(('n', 'minimum'), [(7, 15), (20, 10), (96, 4)])
def test_classes_differ_with_colour_blindness_too(vision, n, minimum):
    # 2.3 is a just noticeable difference.
    colors = [label_color(label) for label in range(n)]
    assert len(set(colors)) == n
    assert minimum_distance(colors, vision) > minimum


def test_no_class_has_a_colour_similar_to_red():
    for label in range(96):
        assert minimum_distance([label_color(label), RED]) > 15


def test_a_label_has_one_colour():
    assert label_color(np.int32(3)) == label_color(3) == label_color(3 + 96)
    assert all(type(value) is int and 0 <= value <= 255 for value in label_color(50))


def test_letters_have_enough_contrast_on_every_colour():
    for label in range(96):
        color = label_color(label)
        dark, light = sorted(
            linear_rgb(each) @ (0.2126, 0.7152, 0.0722) for each in (color, contrast_color(color))
        )
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.1, level AA


def test_a_negative_label_is_an_error():
    with pytest.raises(ValueError, match='label = -1: expected 0 or more'):
        label_color(-1)
