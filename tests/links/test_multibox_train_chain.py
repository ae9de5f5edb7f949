import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest

from chainer_ssd import MultiboxTrainChain, multibox_loss
from chainer_ssd.functions import (
    AllNegatives,
    FocalLoss,
    HardNegative,
    MultiboxObjective,
    Positives,
    SoftmaxCrossEntropy,
)
from tests.distributed.threads import run_ranks


class Model(chainer.Chain):
    def __init__(self, in_channels=3):
        super().__init__()
        with self.init_scope():
            self.conv = L.Convolution2D(in_channels, 4 + 5, 1)

    def forward(self, imgs):
        h = F.reshape(F.transpose(self.conv(imgs), (0, 2, 3, 1)), (len(imgs), 64, 9))
        return h[:, :, :4], h[:, :, 4:]


def batch(n=2):
    rng = np.random.default_rng(0)
    labels = np.where(rng.random((n, 64)) < 0.1, rng.integers(1, 5, (n, 64)), 0).astype('i')
    labels[rng.random((n, 64)) < 0.1] = -1
    imgs, locs = rng.normal(size=(n, 3, 8, 8)), rng.normal(size=(n, 64, 4))
    return imgs.astype('f'), locs.astype('f'), labels


def test_is_the_weighted_loss_of_the_model():
    model = Model()
    imgs, gt_mb_locs, gt_mb_labels = batch()
    loc_loss, conf_loss = multibox_loss(*model(imgs), gt_mb_locs, gt_mb_labels, 2)
    loss = MultiboxTrainChain(model, alpha=0.5, k=2)(imgs, gt_mb_locs, gt_mb_labels)
    np.testing.assert_allclose(loss.array, 0.5 * loc_loss.array + conf_loss.array, rtol=1e-6)


@pytest.mark.parametrize('k', [0, 3, 100])
def test_reports_the_parts_of_the_loss(k):
    imgs, gt_mb_locs, gt_mb_labels = batch()
    chain = MultiboxTrainChain(Model(), k=k)
    reporter = chainer.Reporter()
    reporter.add_observer('main', chain)
    with reporter:
        loss = chain(imgs, gt_mb_locs, gt_mb_labels)
    observed = {
        name[5:]: float(getattr(value, 'array', value))
        for name, value in reporter.observation.items()
    }
    assert observed['loss'] == float(loss.array)
    np.testing.assert_allclose(
        observed['loss'], observed['loss/loc'] + observed['loss/conf'], rtol=1e-6
    )
    assert observed['n_positive'] == np.count_nonzero(gt_mb_labels > 0)
    # Hard negatives: boxes with a gradient of the logits that are not positive.
    mb_locs, mb_confs = chain.model(imgs)
    mb_confs = chainer.Variable(mb_confs.array)
    multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k)[1].backward()
    chosen = (mb_confs.grad != 0).any(axis=2) & (gt_mb_labels <= 0)
    assert observed['n_hard_negative'] == np.count_nonzero(chosen)


def test_a_batch_without_images_gives_zero_to_every_parameter():
    chain = MultiboxTrainChain(Model())
    for param in chain.params():
        param.array[...] = np.nan  # must not reach the loss
    chain.cleargrads()
    loss = chain(*(array[:0] for array in batch()))
    loss.backward()
    assert loss.array == 0 and loss.dtype == np.float32
    for param in chain.params():
        assert param.grad.shape == param.shape and not param.grad.any()


@pytest.mark.parametrize('name', ['alpha', 'k'])
@pytest.mark.parametrize('value', [-1, float('nan'), float('inf'), None])
def test_a_wrong_weight_or_ratio_fails_before_training(name, value):
    with pytest.raises(ValueError, match=f'{name} = {value}: expected a finite number >= 0'):
        MultiboxTrainChain(Model(), **{name: value})


def test_trains_with_a_chainer_updater(tmp_path):
    imgs, gt_mb_locs, gt_mb_labels = batch(8)
    chain = MultiboxTrainChain(Model())
    optimizer = chainer.optimizers.Adam(1e-2).setup(chain)
    iterator = chainer.iterators.SerialIterator(list(zip(imgs, gt_mb_locs, gt_mb_labels)), 4)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    trainer = chainer.training.Trainer(updater, (30, 'epoch'), out=str(tmp_path))
    log = chainer.training.extensions.LogReport(trigger=(1, 'epoch'))
    trainer.extend(log)
    trainer.run()
    assert log.log[-1]['main/loss'] < 0.8 * log.log[0]['main/loss']
    assert {'main/loss/loc', 'main/loss/conf', 'main/n_positive', 'main/n_hard_negative'} <= set(
        log.log[0]
    )


def test_trains_with_any_objective():
    model = Model()
    imgs, gt_mb_locs, gt_mb_labels = batch()
    objective = MultiboxObjective(confidence=FocalLoss(), mining=AllNegatives())
    loc_loss, conf_loss = objective(*model(imgs), gt_mb_locs, gt_mb_labels)
    chain = MultiboxTrainChain(model, 0.5, objective=objective)
    reporter = chainer.Reporter()
    reporter.add_observer('main', chain)
    with reporter:
        loss = chain(imgs, gt_mb_locs, gt_mb_labels)
    np.testing.assert_allclose(loss.array, 0.5 * loc_loss.array + conf_loss.array, rtol=1e-6)
    assert reporter.observation.keys() == {
        'main/loss',
        'main/loss/loc',
        'main/loss/conf',
        'main/n_positive',
    }


@pytest.mark.parametrize('minimum', [0, 1])
def test_any_objective_equals_the_whole_batch_over_ranks(minimum):
    imgs, gt_mb_locs, gt_mb_labels = batch(5)
    objective = MultiboxObjective(
        confidence=SoftmaxCrossEntropy([1, 2, 1, 1, 3]),
        mining=HardNegative(2, by='own class'),
        normalizer=Positives(minimum),
    )
    model = Model()
    whole = MultiboxTrainChain(model.copy('copy'), objective=objective)
    whole.cleargrads()
    whole(imgs, gt_mb_locs, gt_mb_labels).backward()
    bounds = [0, 0, 1, 5]  # the first rank has no image

    def program(comm):
        part = slice(bounds[comm.rank], bounds[comm.rank + 1])
        chain = MultiboxTrainChain(model.copy('copy'), comm=comm, objective=objective)
        chain.cleargrads()
        chain(imgs[part], gt_mb_locs[part], gt_mb_labels[part]).backward()
        return chain.model.conv.W.grad / 3

    np.testing.assert_allclose(
        sum(run_ranks(3, program)), whole.model.conv.W.grad, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'objective': MultiboxObjective(reduce='sum')}, "reduce = 'sum'"),
        ({'objective': MultiboxObjective(), 'k': 2}, 'k = 2 has no effect'),
    ],
)
def test_an_objective_that_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MultiboxTrainChain(Model(), **options)
