import numpy as np
import pytest

from chainer_ssd.visualizations import draw_detection, label_color
from chainer_ssd.visualizations._boxes import Boxes
from chainer_ssd.visualizations.colors import RED
from chainer_ssd.visualizations.draw_detection import find_ground_truths

BOXES = np.array([(40, 30, 140, 130), (200, 220, 330, 350)], 'f')
NAMES = ['cat', 'dog']


def count(picture, color):
    return (picture == np.reshape(color, (3, 1, 1))).all(axis=0).sum()


def draw(bbox, label, gt_bbox, gt_label, shape=(400, 500)):
    score = np.linspace(0.9, 0.8, len(bbox))
    return draw_detection(
        np.full((3, *shape), 200, 'f'), bbox, label, score, gt_bbox, gt_label, NAMES
    )


def halves(picture):
    middle = picture.shape[2] // 2
    return picture[:, :, :middle], picture[:, :, middle:]


def test_ground_truths_stand_left_and_detections_right():
    left, right = halves(draw(BOXES[:1], [0], BOXES[1:], [1]))
    assert count(left, label_color(1)) and not count(left, label_color(0))
    assert count(right, label_color(0)) and not count(right, label_color(1))


def test_correct_detections_are_not_red():
    picture = draw(BOXES + 3, [0, 1], BOXES, [0, 1])
    assert count(picture, label_color(0))
    assert not count(picture, RED)


@pytest.mark.parametrize(
    ('found', 'true'),
    [
        ([0], []),
        ([], [0]),
        ([0], [1]),
        ([0, 0], [0]),
    ],
    ids=['no ground truth', 'missed', 'another class', 'found twice'],
)
def test_errors_are_red_on_their_side(found, true):
    box = BOXES[:1]
    left, right = halves(draw(box.repeat(len(found), 0), found, box.repeat(len(true), 0), true))
    assert (count(left, RED) > 0) == (len(true) > 0 and found != [0, 0])
    assert (count(right, RED) > 0) == (len(found) > 0)


@pytest.mark.parametrize(
    ('bbox', 'label', 'expected'),
    [
        ([(0, 0, 10, 10)], [0], [0]),
        ([(0, 0, 10, 10)], [1], [-1]),
        ([(0, 0, 10, 4)], [0], [-1]),
        ([(0, 0, 10, 6), (0, 0, 10, 10)], [0, 0], [0, -1]),
        ([(0, 8, 10, 18)], [0], [1]),
        ([], [], []),
    ],
)
def test_find_ground_truths(bbox, label, expected):
    gt_bbox = np.array([(0, 0, 10, 10), (0, 7, 10, 17)], 'f')
    bbox, label = np.array(bbox, 'f').reshape(-1, 4), np.array(label, int)
    detections, ground_truths = Boxes(bbox, label, None), Boxes(gt_bbox, np.array([0, 0]), None)
    assert find_ground_truths(detections, ground_truths, 0.5).tolist() == expected
    none = ground_truths.take(np.zeros(0, int))
    assert find_ground_truths(detections, none, 0.5).tolist() == [-1] * len(bbox)


@pytest.mark.parametrize(
    ('shape', 'side'), [((50, 100), 400), ((500, 600), 600), ((900, 3000), 1000)]
)
def test_panels_have_a_readable_size(shape, side):
    height, width = shape
    box = np.array([(0.2 * height, 0.1 * width, 0.7 * height, 0.6 * width)], 'f')
    picture = draw(BOXES[:0], [], box, [0], shape)
    assert picture.shape[2] == 2 * side + 6
    is_line = (picture == np.reshape(label_color(0), (3, 1, 1))).all(axis=0)
    columns = np.flatnonzero(is_line.any(axis=0))
    left, right = (fraction * width * side / max(shape) for fraction in (0.1, 0.6))
    assert abs(columns[0] - left) <= 3 and abs(columns[-1] - right) <= 3


def test_a_label_without_a_name_is_an_error():
    with pytest.raises(ValueError, match=r'label\[0\] = 2: expected 0 to 1'):
        draw(BOXES[:1], [2], BOXES[:0], [])


def test_without_scores_the_first_row_counts_as_the_highest():
    img = np.full((3, 400, 500), 200, 'f')
    boxes, args = BOXES[[0, 0, 1]] + [[0], [2], [0]], (BOXES, [0, 1], NAMES)
    expected = draw_detection(img, boxes, [0, 0, 1], [0.9, 0.8, 0.7], *args)
    drawn = draw_detection(img, boxes, [0, 0, 1], None, *args)
    left, right = halves(drawn)
    np.testing.assert_array_equal(left, halves(expected)[0])
    assert (right != halves(expected)[1]).any()  # no digits
    for color in (label_color(0), label_color(1)):
        assert count(right, color) and count(left, color)
    assert count(right, RED) and not count(left, RED)


@pytest.mark.parametrize(('label', 'gt_label'), [(None, None), (None, [1, 0]), ([1, 0], None)])
def test_without_labels_a_detection_may_find_any_ground_truth(label, gt_label):
    img = np.full((3, 400, 500), 200, 'f')
    drawn = draw_detection(img, BOXES + 3, label, [0.9, 0.8], BOXES, gt_label, NAMES)
    assert not count(drawn, RED)
    one = draw_detection(img, BOXES + 3, label, [0.9, 0.8], BOXES[:1], gt_label and [0], NAMES)
    assert count(halves(one)[1], RED)  # a detection without a ground truth is false
    if label is None:
        assert count(halves(drawn)[1], label_color(0))
        assert not count(halves(drawn)[1], label_color(1))


def test_neither_labels_nor_scores_nor_boxes():
    img = np.full((3, 40, 50), 200, 'f')
    for boxes in (BOXES[:0], BOXES / 10):
        assert draw_detection(img, boxes, None, None, boxes, None).shape[0] == 3
