"""The keyword ``normalizer`` of the three losses and of both chains."""

import chainer
import chainer.links as L
import numpy as np
import pytest

from chainer_ssd import MultiBoxLoss, MultiboxTrainChain, multibox_loss, ssd_loss
from chainer_ssd.functions import ssd_match
from tests.functions.test_multibox_loss import make


def ground_truth(seed, n_image):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.6, (n_image, 3, 2))
    gt_box = np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (n_image, 3, 2))], axis=2)
    return [*gt_box.astype('f')], [rng.integers(1, 5, 3).astype('i') for _ in range(n_image)]


def prior_box():
    edge = np.linspace(0, 0.75, 4)
    y, x = (grid.ravel() for grid in np.meshgrid(edge, edge, indexing='ij'))
    return np.stack([x, y, x + 0.25, y + 0.25], axis=1).astype('f')


def compute_multibox_loss(part, **options):
    arrays = [array[part] for array in make(seed=1, batch=6, n_box=16)]
    return sum(multibox_loss(*arrays, 3, **options)), (arrays[3] > 0).sum()


def compute_ssd_loss(part, **options):
    mb_locs, mb_confs, _, _ = (array[part] for array in make(seed=1, batch=6, n_box=16))
    gt_box, gt_label = (each[part] for each in ground_truth(0, 6))
    loss = ssd_loss(mb_locs, mb_confs, gt_box, gt_label, prior_box(), reduce='sum', **options)
    return loss, (ssd_match(gt_box, prior_box()) >= 0).sum()


def compute_ssd_pytorch_loss(part, **options):
    mb_locs, mb_confs, _, _ = (array[part] for array in make(seed=1, batch=6, n_box=16))
    gt_box, gt_label = (each[part] for each in ground_truth(0, 6))
    priors = prior_box()
    priors = np.concatenate([(priors[:, :2] + priors[:, 2:]) / 2, priors[:, 2:] - priors[:, :2]], 1)
    targets = [np.column_stack([b, label - 1]).astype('f') for b, label in zip(gt_box, gt_label)]
    criterion = MultiBoxLoss(5, 0.5, True, 0, True, 3, 0.5, False)
    losses = criterion((mb_locs, mb_confs, priors), targets, **options)
    alone = criterion((mb_locs, mb_confs, priors), targets)
    n_positive = (
        1
        / float(sum(alone).array)
        * float(sum(criterion((mb_locs, mb_confs, priors), targets, normalizer=1.0)).array)
    )
    return sum(losses), n_positive


LOSSES = [compute_multibox_loss, compute_ssd_loss, compute_ssd_pytorch_loss]
WHOLE = slice(None)


@pytest.fixture(params=['auto', 'never'], autouse=True)
def use_fused_multibox(request):
    with chainer.using_config('use_fused_multibox', request.param):
        yield


@pytest.mark.parametrize('compute', LOSSES)
def test_replaces_the_number_of_positives(compute):
    loss, n_positive = compute(WHOLE)
    assert n_positive > 2
    for normalizer in (7.5, np.float32(7.5), np.array(7.5), lambda: 7.5):
        np.testing.assert_allclose(
            compute(WHOLE, normalizer=normalizer)[0].array * 7.5,
            loss.array * n_positive,
            rtol=1e-5,
        )


@pytest.mark.parametrize('compute', LOSSES)
def test_the_losses_of_parts_add_up_to_that_of_the_whole_batch(compute):
    loss, n_positive = compute(WHOLE)
    parts = [compute(part, normalizer=n_positive)[0] for part in (slice(0, 1), slice(1, 6))]
    np.testing.assert_allclose(sum(part.array for part in parts), loss.array, rtol=1e-5)


@pytest.mark.parametrize('compute', LOSSES)
@pytest.mark.parametrize(
    ('normalizer', 'error'),
    [
        (-1, ValueError),
        (float('nan'), ValueError),
        (float('inf'), ValueError),
        (lambda: -1, ValueError),
        (0, ValueError),  # there are positives
        (lambda: 0, ValueError),
        ('3', TypeError),
        (True, TypeError),
        (np.array([3, 4]), TypeError),
        (lambda: None, TypeError),
    ],
)
def test_an_invalid_normalizer_raises(compute, normalizer, error):
    with pytest.raises(error, match='normalizer = '):
        compute(WHOLE, normalizer=normalizer)


def test_a_normalizer_of_zero_is_valid_without_positives():
    mb_locs, mb_confs, gt_mb_locs, gt_mb_labels = make()
    losses = multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels * 0, 3, normalizer=0)
    assert [float(loss.array) for loss in losses] == [0, 0]


def test_a_callable_is_called_once_in_the_forward_pass():
    calls = []
    arrays = make()
    mb_locs, mb_confs = chainer.Variable(arrays[0]), chainer.Variable(arrays[1])
    loss = sum(
        multibox_loss(mb_locs, mb_confs, *arrays[2:], 3, normalizer=lambda: calls.append(1) or 2)
    )
    assert calls == [1]
    loss.backward()
    assert calls == [1]


def test_ssd_loss_refuses_a_normalizer_without_normalization():
    with pytest.raises(ValueError, match='normalize=False'):
        compute_ssd_loss(WHOLE, normalizer=2, normalize=False)


@pytest.mark.parametrize(
    'options', [{}, {'match_type': 'bipartite'}, {'overlap_threshold': 0.3}, {'reduce': 'no'}]
)
def test_ssd_loss_takes_the_matches_of_ssd_match(options):
    mb_locs, mb_confs, _, _ = make(seed=1, batch=6, n_box=16)
    gt_box, gt_label = ground_truth(0, 6)
    difficult = [np.array([False, True, False])] * 6
    arguments = mb_locs, mb_confs, gt_box, gt_label, prior_box()
    matching = {key: options[key] for key in options if key != 'reduce'}
    index = ssd_match(gt_box, prior_box(), **matching, gt_difficult=difficult)
    loss = ssd_loss(*arguments, gt_difficult=difficult, index=index, **options)
    np.testing.assert_array_equal(
        loss.array, ssd_loss(*arguments, gt_difficult=difficult, **options).array
    )
    others = ssd_loss(*arguments, index=np.where(index < 0, -1, index)[::-1], **options)
    assert not np.array_equal(loss.array, others.array)


def test_ssd_loss_refuses_matches_that_do_not_fit():
    gt_box, gt_label = ground_truth(0, 2)
    mb_locs, mb_confs, _, _ = make(batch=2, n_box=16)
    arguments = mb_locs, mb_confs, gt_box, gt_label, prior_box()
    for index, message in (
        (np.zeros((2, 15), 'i'), r'index has shape \(2, 15\): expected \(2, 16\)'),
        (np.full((2, 16), 3, 'i'), 'image 0: index'),
        (np.full((2, 16), -3, 'i'), 'image 0: index'),
    ):
        with pytest.raises(ValueError, match=message):
            ssd_loss(*arguments, index=index)
    with pytest.raises(TypeError, match='index has dtype'):
        ssd_loss(*arguments, index=np.zeros((2, 16)))


class Model(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.linear = L.Linear(5, 16 * 9)

    def forward(self, imgs):
        h = self.linear(imgs).reshape(len(imgs), 16, 9)
        return h[:, :, :4], h[:, :, 4:]


def test_gradients_of_parts_add_up_in_a_chain():
    _, _, gt_mb_locs, gt_mb_labels = make(seed=2, batch=6, n_box=16)
    imgs = np.random.default_rng(0).normal(size=(6, 5)).astype('f')
    chain = MultiboxTrainChain(Model())
    chain.cleargrads()
    chain(imgs, gt_mb_locs, gt_mb_labels).backward()
    expected = [param.grad.copy() for param in chain.params()]
    chain.cleargrads()
    n_positive = (gt_mb_labels > 0).sum()
    for i in (slice(0, 1), slice(1, 3), slice(3, 6)):
        chain(imgs[i], gt_mb_locs[i], gt_mb_labels[i], n_positive).backward()
    for param, grad in zip(chain.params(), expected):
        np.testing.assert_allclose(param.grad, grad, rtol=1e-5, atol=1e-7)
