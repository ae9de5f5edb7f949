import chainer
import numpy as np
import pytest

from chainer_ssd.extensions import MatchReport
from chainer_ssd.ops import bbox_iou, match
from tests.distributed.threads import run_ranks

# Two squares of 20 pixels, one of 40, four of 4 that overlap nothing.
DEFAULT_BBOX = np.array(
    [
        [10, 10, 20, 20],
        [10, 30, 20, 20],
        [60, 60, 40, 40],
        *[[90, x, 4, 4] for x in (5, 15, 25, 35)],
    ],
    'f',
)


def example(bbox, **options):
    bbox = np.array(bbox, 'f').reshape(-1, 4)
    return (
        np.zeros((3, 100, 100), 'f'),
        bbox,
        np.zeros(len(bbox), 'i'),
        match(DEFAULT_BBOX, bbox, **options),
    )


@pytest.mark.filterwarnings('ignore:no ground truth fits')
def test_figures_counted_by_hand():
    data = [
        # The first default box itself, half of the second (IoU 1/2), a part of the third (1/4).
        example([[0, 0, 20, 20], [0, 20, 20, 30], [40, 40, 60, 60]]),
        example([]),
        # Beside all default boxes: IoU 0.
        example([[0, 60, 5, 65]]),
    ]
    assert MatchReport(data, DEFAULT_BBOX, n_sample=3, k=1)() == {
        'match/n_truth': 4 / 3,
        'match/n_positive': 3 / 3,
        'match/hard_negative': 3 / (4 + 7 + 7),
        'match/unmatched': 1 / 4,
        'match/recall': 2 / 4,
        # Sides: 20, sqrt(200) = 14.1, 20, 5.
        'match/n_truth/16-32px': 2 / 3,
        'match/n_positive/16-32px': 2 / 3,
        'match/unmatched/16-32px': 0,
        'match/recall/16-32px': 1 / 2,
        'match/n_truth/8-16px': 1 / 3,
        'match/n_positive/8-16px': 1 / 3,
        'match/unmatched/8-16px': 0,
        'match/recall/8-16px': 1,
        'match/n_truth/4-8px': 1 / 3,
        'match/n_positive/4-8px': 0,
        'match/unmatched/4-8px': 1,
        'match/recall/4-8px': 0,
    }


def test_hard_negatives_are_at_most_all_negatives():
    figures = MatchReport([example([[0, 0, 20, 20]])], DEFAULT_BBOX, n_sample=1, k=100)()
    assert figures['match/hard_negative'] == 1
    report = MatchReport([example([[0, 0, 20, 20]], neg_overlap=0.0)], DEFAULT_BBOX, n_sample=1)
    assert report()['match/hard_negative'] == 0  # all others are ignored


def test_the_smallest_number_of_hard_negatives_is_that_of_the_loss():
    examples = [example([[0, 0, 20, 20]])]
    for options, n in (({}, 1), ({'min_negatives': 4}, 4)):
        figures = MatchReport(examples, DEFAULT_BBOX, n_sample=1, k=1, **options)()
        n_negative = len(DEFAULT_BBOX) - figures['match/n_positive']
        assert figures['match/hard_negative'] == n / n_negative


def test_without_k_hard_negatives_are_not_reported():
    examples = [example([[0, 0, 20, 20]])]
    figures = MatchReport(examples, DEFAULT_BBOX, n_sample=1, k=None)()
    assert 'match/hard_negative' not in figures and 'match/recall' in figures


def test_images_without_objects():
    figures = MatchReport([example([])], DEFAULT_BBOX, n_sample=2)()
    assert figures.pop('match/n_truth') == figures.pop('match/n_positive') == 0
    assert figures.pop('match/hard_negative') == 0
    assert set(figures) == {'match/unmatched', 'match/recall'}
    assert all(np.isnan(value) for value in figures.values())


def test_recall_and_unmatched_equal_a_loop():
    random = np.random.default_rng(0)
    default_bbox = np.concatenate(
        [random.uniform(0, 100, (200, 2)), random.uniform(5, 60, (200, 2))], axis=1
    ).astype('f')
    data, n_truth, fitting, matched = [], 0, 0, 0
    for n in random.integers(0, 9, 20):
        start = random.uniform(0, 80, (n, 2))
        bbox = np.concatenate([start, start + random.uniform(1, 50, (n, 2))], axis=1).astype('f')
        index = match(default_bbox, bbox, 0.4, 'bipartite')
        data.append((np.zeros((3, 100, 100), 'f'), bbox, np.zeros(n, 'i'), index))
        corners = np.concatenate(
            [
                default_bbox[:, :2] - default_bbox[:, 2:] / 2,
                default_bbox[:, :2] + default_bbox[:, 2:] / 2,
            ],
            axis=1,
        )
        for truth in range(n):
            n_truth += 1
            boxes = [box for box in range(200) if index[box] == truth]
            matched += len(boxes) > 0
            fitting += any(bbox_iou(corners[[box]], bbox[[truth]])[0, 0] >= 0.4 for box in boxes)
    figures = MatchReport(data, default_bbox, 0.4, n_sample=20)()
    assert figures['match/n_truth'] == n_truth / 20
    assert figures['match/recall'] == pytest.approx(fitting / n_truth)
    assert figures['match/unmatched'] == pytest.approx(1 - matched / n_truth)
    for name in ('n_truth', 'n_positive'):  # the sizes add up to the whole
        parts = [value for key, value in figures.items() if key.startswith(f'match/{name}/')]
        assert sum(parts) == pytest.approx(figures[f'match/{name}'])


def test_calls_go_through_the_data_set_and_are_reported(tmp_path):
    indices = []

    class Data:
        def __len__(self):
            return 5

        def __getitem__(self, i):
            indices.append(i)
            return example([[0, 0, 20, 20]] * (i == 0))

    report, observation = MatchReport(Data(), DEFAULT_BBOX, n_sample=3), {}
    with chainer.Reporter().scope(observation):
        assert report() == observation
    report()
    assert indices == [0, 1, 2, 3, 4, 0]
    chainer.serializers.save_npz(tmp_path / 'report.npz', report)
    other = MatchReport(Data(), DEFAULT_BBOX, n_sample=3)
    chainer.serializers.load_npz(tmp_path / 'report.npz', other)
    other()
    assert indices[6:] == [1, 2, 3]


class Communicator:
    """Two ranks that have the same data."""

    size = 2

    def __init__(self, rank):
        self.rank = rank

    def allreduce_obj(self, values):
        ((_, value),) = values
        return [(0, value), (1, value)]


def test_ranks_count_together():
    data = [example([[0, 0, 20, 20], [40, 40, 60, 60]]), example([])]
    alone = MatchReport(data, DEFAULT_BBOX, n_sample=2)()
    assert MatchReport(data, DEFAULT_BBOX, n_sample=4, comm=Communicator(1))() == alone


def test_an_example_that_one_rank_cannot_read_is_an_error_on_every_rank():
    def work(comm):
        data = [example([])] if comm.rank == 1 else [example([])[:3]]
        return MatchReport(data, DEFAULT_BBOX, n_sample=3, comm=comm)()

    first, _, last = messages = [str(error) for error in run_ranks(3, work)]
    assert first.startswith('rank 0: ValueError: dataset[0] is a tuple of 3')
    assert '; rank 2: ValueError: dataset[0]' in last and len(set(messages)) == 1


@pytest.mark.parametrize(
    'data, n_sample, message',
    [([], 3, 'dataset is empty'), ([example([])], 0, 'n_sample = 0: expected an integer >= 1')],
)
def test_bad_arguments(data, n_sample, message):
    with pytest.raises(ValueError, match=message):
        MatchReport(data, DEFAULT_BBOX, n_sample=n_sample)


@pytest.mark.parametrize('iou_thresh', [np.nan, -0.1, 1.1, '0.5', None])
def test_bad_iou_thresh(iou_thresh):
    with pytest.raises((TypeError, ValueError), match='iou_thresh = '):
        MatchReport([example([])], DEFAULT_BBOX, iou_thresh)


@pytest.mark.parametrize('k', [-1, np.nan, np.inf, '3'])
def test_bad_k(k):
    with pytest.raises((TypeError, ValueError), match='k = '):
        MatchReport([example([])], DEFAULT_BBOX, k=k)


@pytest.mark.parametrize('dataset', [iter([]), 3])
def test_a_data_set_must_be_a_sequence(dataset):
    with pytest.raises(TypeError, match='dataset is of type'):
        MatchReport(dataset, DEFAULT_BBOX)


def test_another_number_of_default_boxes_is_an_error():
    report = MatchReport([example([[0, 0, 20, 20]])], DEFAULT_BBOX[:5], n_sample=1)
    with pytest.raises(ValueError, match=r'index of dataset\[0\] has shape \(7,\)'):
        report()


@pytest.mark.parametrize('n_column', [2, 3])
def test_an_example_before_matching_is_an_error(n_column):
    report = MatchReport([example([[0, 0, 20, 20]])[:n_column]], DEFAULT_BBOX, n_sample=1)
    with pytest.raises(ValueError, match=r'dataset\[0\] is a tuple of .*as MatchTransform'):
        report()


@pytest.mark.parametrize('match_type', ['per_prediction', 'bipartite', 'argmax'])
@pytest.mark.parametrize('scale', [0.5, 1, 1.5])
def test_other_default_boxes_warn_once(match_type, scale):
    grids = np.arange(0, 100, 10) + 5.0
    centers = np.stack(np.meshgrid(grids, grids), axis=-1).reshape(-1, 2)
    default_bbox = np.concatenate(
        [np.hstack([centers, np.full((100, 2), side)]) for side in (10, 20, 40)]
    ).astype('f')
    random = np.random.RandomState(0)
    data = []
    for _ in range(20):
        bbox = np.hstack([corner := random.uniform(0, 60, (6, 2)), corner + 1])
        bbox[:, 2:] += random.uniform(4, 39, (6, 2))
        ignore = random.uniform(size=6) < 0.3
        index = match(default_bbox, bbox, match_type=match_type, ignore=ignore)
        data.append((None, bbox.astype('f'), np.zeros(6, 'i'), index))
    other = default_bbox * np.array([1, 1, scale, scale], 'f')
    report = MatchReport(data, other, n_sample=20)
    if scale == 1:
        report()  # a warning would be an error
        return
    with pytest.warns(UserWarning, match='matched with other default boxes') as warned:
        report()
        report()
    assert len(warned) == 1
