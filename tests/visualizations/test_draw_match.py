import numpy as np
import pytest

from chainer_ssd import MultiboxCoder, match
from chainer_ssd.visualizations import draw_match, label_color
from chainer_ssd.visualizations.colors import RED

CODER = MultiboxCoder(
    grids=(10, 5), aspect_ratios=((2,), (2,)), steps=(40, 80), sizes=(60, 120, 240)
)
BBOX = np.array([(40, 50, 105, 112), (200, 180, 330, 300)], 'f')
LABEL = np.array([1, 0])
IMG = np.full((3, 400, 400), 200, 'f')


def is_color(picture, color):
    return (picture == np.reshape(color, (3, 1, 1))).all(axis=0)


def panels(picture, n_row):
    """The pictures of a grid of panels of 400 x 400, without their headings."""
    height = (picture.shape[1] + 6) // n_row - 6
    top = height - 400
    return [
        [
            picture[:, row * (height + 6) + top :][:, :400, column * 406 : column * 406 + 400]
            for column in range((picture.shape[2] + 6) // 406)
        ]
        for row in range(n_row)
    ]


@pytest.fixture
def index():
    return match(CODER.default_bbox, BBOX)


def test_each_scale_shows_its_matches_in_the_colour_of_their_ground_truth(index):
    picture = draw_match(IMG, BBOX, LABEL, index, CODER.default_bbox, CODER.scale)
    ((overview, *scales),) = panels(picture, 1)
    assert len(scales) == 2
    for truth in (0, 1):
        assert is_color(overview, label_color(truth)).any()
        for scale, panel in enumerate(scales):
            matched = ((index == truth) & (CODER.scale == scale)).any()
            assert is_color(panel, label_color(truth)).any() == matched
    assert {0, 1} == {int(s) for s in CODER.scale[index >= 0]}  # both scales have matches


def test_a_matched_default_box_is_drawn_where_it_is():
    index = np.full(len(CODER.scale), -1)
    k = 4 * 44 + 2  # cell (4, 4) of the first scale, a wide box
    index[k] = 0
    picture = draw_match(IMG, BBOX[:1], LABEL[:1], index, CODER.default_bbox, CODER.scale)
    ((_, first, second),) = panels(picture, 1)
    cy, cx, h, w = CODER.default_bbox[k]
    is_line = is_color(first, label_color(0))
    assert is_line[round(cy - h / 2) - 1 :, round(cx)][:2].any()
    assert is_line[round(cy), round(cx + w / 2) - 1 :][:2].any()
    assert not is_line[round(cy), round(cx - w / 2) + 3 : round(cx + w / 2) - 3].any()
    assert not is_color(second, label_color(0)).any()


def test_a_truth_without_a_default_box_is_crossed_out(index):
    index = np.where(index == 0, -1, index)
    picture = draw_match(IMG, BBOX, LABEL, index, CODER.default_bbox, CODER.scale)
    ((overview, *scales),) = panels(picture, 1)
    is_red = is_color(overview, RED)
    cross = int(BBOX[0, ::2].mean()), int(BBOX[0, 1::2].mean())
    assert is_red[cross[0] - 1 : cross[0] + 2, cross[1] - 1 : cross[1] + 2].any()
    assert is_color(picture[:, :20, :400], RED).mean() > 0.5  # the heading's background
    assert all(is_color(panel, RED).any() for panel in scales)
    assert not is_color(overview, label_color(0)).any()


def test_without_unmatched_ground_truths_nothing_is_red(index):
    picture = draw_match(IMG, BBOX, LABEL, index, CODER.default_bbox, CODER.scale)
    assert not is_color(picture, RED).any()


def test_hard_negatives_stand_below_their_scale(index):
    hard_negative = np.zeros(len(index), bool)
    k = 4 * 55  # cell (5, 5) of the first scale, the small square
    hard_negative[k] = True
    args = IMG, BBOX[:0], LABEL[:0], np.full(len(index), -1), CODER.default_bbox, CODER.scale
    upper, (_, first, second) = panels(draw_match(*args, hard_negative), 2)
    plain = upper[1]
    cy, cx, h, w = CODER.default_bbox[k]
    drawn = (first != plain).any(axis=0)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    np.testing.assert_allclose(
        [rows[0], columns[0], rows[-1], columns[-1]],
        [cy - h / 2, cx - w / 2, cy + h / 2, cx + w / 2],
        atol=1,
    )
    assert not (second != plain).any()


def test_the_largest_loss_is_the_reddest():
    index = np.full(len(CODER.scale), -1)
    hard_negative, loss = np.zeros((2, len(index)))
    hard_negative, loss = hard_negative > 1, loss
    for cell, value in ((22, 0.1), (55, 1), (77, 5)):
        hard_negative[4 * cell], loss[4 * cell] = True, value
    _, (_, panel, _) = panels(
        draw_match(
            IMG, BBOX[:0], LABEL[:0], index, CODER.default_bbox, CODER.scale, hard_negative, loss
        ),
        2,
    )
    redness = []
    for cell in (22, 55, 77):
        cy, cx, h, _ = CODER.default_bbox[4 * cell]
        line = panel[:, round(cy - h / 2) - 1 : round(cy - h / 2) + 1, round(cx)].astype(int)
        redness.append((line[0] - line[2]).max())
    assert redness == sorted(redness) and redness[0] < redness[2] - 100


def test_losses_that_are_not_finite_count_as_the_largest():
    hard_negative, loss = np.zeros(len(CODER.scale), bool), np.zeros(len(CODER.scale))
    cells = (22, 55, 77)
    for cell, value in zip(cells, (2, np.nan, 0.1)):
        hard_negative[4 * cell], loss[4 * cell] = True, value
    args = IMG, BBOX[:0], LABEL[:0], np.full(len(loss), -1), CODER.default_bbox, CODER.scale
    _, (_, panel, _) = panels(draw_match(*args, hard_negative, loss), 2)
    is_reddest = is_color(panel, (255, 50, 0))
    found = []
    for cell in cells:
        cy, cx, h, w = np.rint(CODER.default_bbox[4 * cell]).astype(int)
        found.append(is_reddest[cy - h // 2 - 2 : cy + h // 2 + 2, cx].any())
    assert found == [True, True, False]
    draw_match(*args, hard_negative, loss * np.nan)


def test_ignored_boxes_are_shown_beside_the_negatives():
    index = np.full(len(CODER.scale), -1)
    args = IMG, BBOX, LABEL, index, CODER.default_bbox, CODER.scale, index == 0
    before = draw_match(*args)
    index[4 * 55] = -2
    after = draw_match(*args)
    (_, matched_before, _), (_, negatives_before, _) = panels(before, 2)
    (_, matched_after, _), (_, negatives_after, _) = panels(after, 2)
    assert (negatives_before != negatives_after).any()
    np.testing.assert_array_equal(matched_before, matched_after)


@pytest.mark.parametrize('n_scale', [1, 4, 6, 7])
def test_every_scale_has_a_panel(n_scale):
    coder = MultiboxCoder(
        [2] * n_scale, [()] * n_scale, [200] * n_scale, np.linspace(50, 300, n_scale + 1)
    )
    index = np.full(len(coder.scale), -1)
    picture = draw_match(IMG, BBOX, LABEL, index, coder.default_bbox, coder.scale, index == 0)
    n_column = n_scale + 1 if n_scale < 5 else (n_scale + 2) // 2
    assert picture.shape[2] == n_column * 406 - 6


def test_small_images_are_enlarged_with_their_boxes(index):
    picture = draw_match(IMG[:, :100, :100], BBOX / 4, LABEL, index, CODER.default_bbox / 4)
    ((overview, _),) = panels(picture, 1)
    rows = np.flatnonzero(is_color(overview, label_color(1)).any(axis=1))
    assert abs(rows[-1] - BBOX[1, 2]) <= 3


def test_without_truths_and_without_default_boxes():
    picture = draw_match(
        IMG,
        BBOX[:0],
        LABEL[:0],
        np.zeros(0, int),
        np.zeros((0, 4)),
        hard_negative=np.zeros(0, bool),
        conf_loss=np.zeros(0),
    )
    assert picture.shape[2] == 2 * 406 - 6


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'index': np.full(3, -1)}, r'index has shape \(3,\) and dtype int64: expected \(500,\)'),
        ({'scale': np.zeros(3, int)}, r'scale has shape \(3,\): expected \(500,\)'),
        ({'hard_negative': np.zeros(3, bool)}, r'hard_negative has shape \(3,\)'),
        (
            {'hard_negative': np.zeros(500, int)},
            'hard_negative has dtype int64: expected bool',
        ),
        ({'conf_loss': np.zeros(3)}, r'conf_loss has shape \(3,\)'),
        ({'index': np.full(500, 2)}, r'index\[0\] = 2: expected -2, -1 or the row of one of 2'),
        ({'index': np.full(500, -3)}, r'index\[0\] = -3: expected -2, -1 or the row'),
        ({'index': np.full(500, -1.0)}, 'index has .* dtype float64: expected .* integers'),
        ({'scale': np.zeros(500)}, 'scale has dtype float64: expected integers'),
        ({'scale': np.full(500, -1)}, r'scale\[0\] = -1: expected 0 to 499'),
        ({'label_names': ['cat']}, r'label\[0\] = 1: expected 0 to 0'),
    ],
)
def test_bad_arguments(index, changes, message):
    args = {
        'img': IMG,
        'bbox': BBOX,
        'label': LABEL,
        'index': index,
        'default_bbox': CODER.default_bbox,
        'scale': CODER.scale,
    }
    with pytest.raises((TypeError, ValueError), match=message):
        draw_match(**{**args, **changes})


def test_without_labels_ground_truths_are_numbered_only(index):
    args = index, CODER.default_bbox, CODER.scale, None, None
    drawn = draw_match(IMG, BBOX, None, *args, ['a', 'b'])
    np.testing.assert_array_equal(drawn, draw_match(IMG, BBOX, LABEL, *args))
    assert (drawn != draw_match(IMG, BBOX, LABEL, *args, ['a', 'b'])).any()
