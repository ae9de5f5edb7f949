import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from chainer_ssd.visualizations._captions import draw_captions, place_captions, printable_names


def rectangles(places, sizes):
    return [
        (*place, place[0] + size[0], place[1] + size[1])
        for place, size in zip(places, sizes)
        if place is not None
    ]


def intersection(a, b):
    height, width = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(height, 0) * max(width, 0)


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ((50, 40, 90, 120), (50 - 14, 40)),  # above
        ((5, 40, 90, 120), (90, 40)),  # below
        ((5, 40, 195, 120), (5, 40)),  # inside
        ((50, 170, 90, 190), (50 - 14, 200 - 60)),  # moved into the image
    ],
)
def test_place_of_one_caption(box, expected):
    assert place_captions(np.array([box], 'd'), [(14, 60)], (200, 200)) == [expected]


def test_captions_of_adjacent_boxes_overlap_neither_each_other_nor_the_objects():
    # Twenty boxes side by side, some of which overlap.
    rows, columns = np.divmod(np.arange(20), 5)
    corner = np.stack([10 + rows * 110 + columns * 7, 5 + columns * 120 + rows * 5], axis=1)
    bbox = np.concatenate([corner, corner + 105], axis=1).astype('d')
    sizes = [(15, 66)] * 20
    places = place_captions(bbox, sizes, (480, 640))
    assert None not in places
    captions = rectangles(places, sizes)
    for i, caption in enumerate(captions):
        assert all(intersection(caption, other) == 0 for other in captions[:i])
        for top, left, bottom, right in bbox:
            middle = top + 40, left + 40, bottom - 40, right - 40
            assert intersection(caption, middle) == 0


def test_boxes_in_the_same_place_have_captions_in_different_places():
    bbox, sizes = np.repeat([[80.0, 80, 140, 140]], 4, axis=0), [(14, 60)] * 4
    captions = rectangles(place_captions(bbox, sizes, (200, 200)), sizes)
    assert len(captions) == 4
    assert not any(intersection(a, b) for i, a in enumerate(captions) for b in captions[:i])


def test_a_caption_does_not_cover_the_object_above():
    bbox = np.array([[100.0, 60, 140, 120], [60, 60, 120, 120]])
    (top, left), _ = place_captions(bbox, [(14, 60), (14, 60)], (200, 200))
    assert intersection((top, left, top + 14, left + 60), (82, 82, 98, 98)) == 0


def test_no_caption_without_a_free_place():
    bbox = np.array([[2.0, 2, 8, 8]])
    assert place_captions(bbox, [(14, 60)], (10, 100)) == [None]
    assert place_captions(bbox, [(14, 60)], (100, 10)) == [None]


def test_at_most_100_captions_are_drawn():
    bbox = np.array([(20 * i, 0, 20 * i + 1, 5) for i in range(1, 151)], 'f')
    pixels = np.zeros((3200, 50, 3), np.uint8)
    draw_captions(pixels, bbox, ['x'] * 150, [(255, 255, 255)] * 150)
    assert pixels[20:2000].any() and not pixels[2010:].any()


@given(st.integers(0, 2**31), st.integers(0, 60), st.integers(20, 300), st.integers(20, 300))
def test_captions_stay_inside_and_do_not_overlap(seed, n, height, width):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-20, 300, (n, 2))
    bbox = np.concatenate([corner, corner + rng.uniform(0, 100, (n, 2))], axis=1)
    sizes = [(14, int(rng.integers(30, 90))) for _ in range(n)]
    places = place_captions(bbox.clip(0, (height, width) * 2), sizes, (height, width))
    assert len(places) == n
    placed = rectangles(places, sizes)
    for i, (top, left, bottom, right) in enumerate(placed):
        assert 0 <= top < bottom <= height and 0 <= left < right <= width
        assert not any(intersection(placed[i], other) for other in placed[:i])


def test_names_without_glyphs_become_labels_with_one_warning():
    private = '\U000f0000'  # a private character
    names = ['cat', private, 'Größe', private * 100_000]
    with pytest.warns(UserWarning, match='no glyph for a letter of .* for 2 of 4') as caught:
        assert printable_names(names) == ['cat', 'label 1', 'Größe', 'label 3']
    assert len(caught) == 1 and len(str(caught[0].message)) < 600
