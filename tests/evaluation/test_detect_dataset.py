import numpy as np
import pytest

from chainer_ssd.evaluation import detect_batches, detect_dataset


class Detector:
    """Detector with one detection per image. The image's first pixel is its score."""

    def __init__(self):
        self.batch_sizes = []

    def predict(self, imgs):
        self.batch_sizes.append(len(imgs))
        scores = [np.array([img[0, 0, 0]], 'f') for img in imgs]
        return [np.ones((1, 4), 'f')] * len(imgs), [np.zeros(1, 'i')] * len(imgs), scores


def data_of(n, *columns):
    return [(np.full((3, 2, 2), i, 'f'), np.full((1, 4), i, 'f'), [i], *columns) for i in range(n)]


@pytest.mark.parametrize('columns', [(), ([True],)])
def test_columns_of_all_images_one_by_one(columns):
    detector = Detector()
    found = detect_dataset(detector, data_of(3, *columns))
    assert len(found) == 5 + len(columns)
    pred_bboxes, _, pred_scores, gt_bboxes, gt_labels = found[:5]
    assert [score.item() for score in pred_scores] == [0, 1, 2]
    assert [bbox[0, 0] for bbox in gt_bboxes] == [0, 1, 2] and gt_labels == ([0], [1], [2])
    assert len(pred_bboxes) == 3 and found[5:] == [(column,) * 3 for column in columns]
    assert detector.batch_sizes == [1] * 3


def test_an_empty_data_set_has_empty_columns():
    assert detect_dataset(Detector(), []) == [()] * 5


class Communicator:
    """Rank of two. The other rank has detected in its images."""

    size = 2

    def __init__(self, rank, others):
        self.rank, self.others = rank, others

    def allreduce_obj(self, values):
        ((_, value),) = values
        # Two calls: the indices of each rank, then the errors, of which there are none.
        other = list(self.others) if isinstance(value, list) else None
        return [(self.rank, value), (1 - self.rank, other)]

    def gather_obj(self, value):
        parts = {self.rank: value, 1 - self.rank: self.others}
        return None if self.rank else [parts[0], parts[1]]


@pytest.mark.parametrize('rank', [0, 1])
def test_ranks_share_the_images_and_rank_0_has_them_all(rank):
    data = data_of(5)
    alone = detect_dataset(Detector(), data)
    others = {i: tuple(column[i] for column in alone) for i in range(1 - rank, 5, 2)}
    detector = Detector()
    found = detect_dataset(detector, data, Communicator(rank, others))
    assert len(detector.batch_sizes) == 3 - rank
    if rank:
        assert found is None
    else:
        np.testing.assert_equal(found, alone)


def test_batches_stay_together():
    detector, data = Detector(), data_of(5)
    images = list(detect_batches(detector, [data[:2], data[2:]]))
    assert detector.batch_sizes == [2, 3]
    assert [score.item() for _, _, score, _, _ in images] == [0, 1, 2, 3, 4]
