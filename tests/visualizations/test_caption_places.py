import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from chainer_ssd.visualizations._caption_places import _COVERED, place_captions


def mask(height, width):
    return np.ones((height, width), 'f')


def rectangles(places):
    return [
        (top, left, top + mask.shape[0], left + mask.shape[1])
        for mask, top, left in filter(None, places)
    ]


def shared(a, b):
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(height, 0) * max(width, 0)


def test_alone_it_stands_on_the_box():
    ((_, top, left),) = place_captions(
        np.array([[50.0, 40, 90, 120]]), [[mask(14, 60)]], (200, 200)
    )
    assert (top, left) == (50 - 14, 40)


def test_captions_of_crowded_boxes_share_no_pixel_and_no_core():
    # As in an image of blood cells: twenty boxes, side by side, some over each other.
    rows, columns = np.divmod(np.arange(20), 5)
    corner = np.stack([10 + rows * 110 + columns * 7, 5 + columns * 120 + rows * 5], axis=1)
    bbox = np.concatenate([corner, corner + 105], axis=1).astype('d')
    places = place_captions(bbox, [[mask(15, 66)]] * 20, (480, 640))
    assert None not in places
    captions = rectangles(places)
    for i, caption in enumerate(captions):
        assert all(shared(caption, other) == 0 for other in captions[:i])
        for top, left, bottom, right in bbox:
            core = top + 30, left + 30, bottom - 30, right - 30
            assert shared(caption, core) == 0


def test_boxes_in_the_same_place_have_captions_in_different_ones():
    bbox = np.repeat([[80.0, 80, 140, 140]], 4, axis=0)
    captions = rectangles(place_captions(bbox, [[mask(14, 60)]] * 4, (200, 200)))
    assert len(captions) == 4
    assert not any(shared(a, b) for i, a in enumerate(captions) for b in captions[:i])


def test_a_caption_does_not_stand_on_the_object_above():
    bbox = np.array([[100.0, 60, 140, 120], [60, 60, 120, 120]])
    (_, top, left), _ = place_captions(bbox, [[mask(14, 60)], []], (200, 200))
    assert shared((top, left, top + 14, left + 60), (72, 72, 108, 108)) == 0


def test_the_shorter_caption_where_the_longer_has_no_room():
    long, short = mask(14, 60), mask(14, 20)
    ((placed, _, _),) = place_captions(np.array([[2.0, 2, 38, 38]]), [[long, short]], (100, 40))
    assert placed is short


def test_no_caption_where_none_has_room():
    assert place_captions(np.array([[2.0, 2, 8, 8]]), [[mask(14, 60)]], (10, 10)) == [None]
    assert place_captions(np.array([[2.0, 2, 8, 8]]), [[]], (100, 100)) == [None]


@given(st.integers(0, 2**31), st.integers(0, 60), st.integers(20, 300), st.integers(20, 300))
def test_captions_stay_inside_and_leave_most_of_the_image(seed, n, height, width):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, 300, (n, 2))
    bbox = np.concatenate([corner, corner + rng.uniform(0, 100, (n, 2))], axis=1)
    captions = [[mask(14, rng.integers(30, 90)), mask(14, 25)] for _ in range(n)]
    places = place_captions(bbox.clip(0, (height, width) * 2), captions, (height, width))
    assert len(places) == n
    placed = rectangles(places)
    assert all(
        0 <= top < bottom <= height and 0 <= left < right <= width
        for top, left, bottom, right in placed
    )
    assert sum((b - t) * (r - le) for t, le, b, r in placed) <= _COVERED * height * width
