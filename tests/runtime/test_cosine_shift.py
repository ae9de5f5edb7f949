import chainer
import numpy as np
import pytest

from chainer_ssd import CosineShift


class Record(chainer.training.Extension):
    """Learning rate of each update."""

    priority = 1000  # before the next rate is set

    def __init__(self):
        self.rates = []

    def __call__(self, trainer):
        self.rates.append(trainer.updater.get_optimizer('main').eta)


def trainer_of(out, total, stop):
    class Chain(chainer.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.linear = chainer.links.Linear(1, 1)

        def forward(self, x):
            return chainer.functions.sum(self.linear(x))

    chain = Chain()
    optimizer = chainer.optimizers.Adam().setup(chain)
    iterator = chainer.iterators.SerialIterator(np.ones((4, 1), 'f'), 2)
    trainer = chainer.training.Trainer(
        chainer.training.StandardUpdater(iterator, optimizer), (stop, 'iteration'), out
    )
    trainer.extend(CosineShift('eta', 0.5, total, warmup=3))
    trainer.extend(Record())
    return trainer


def test_the_rate_of_each_update(tmp_path):
    trainer = trainer_of(tmp_path, 12, 12)
    trainer.run()
    rise = 0.5 * np.array([0.25, 0.5, 0.75])
    fall = 0.5 * (1 + np.cos(np.pi * np.arange(9) / 9)) / 2
    np.testing.assert_allclose(trainer.get_extension('Record').rates, [*rise, *fall])
    assert trainer.updater.get_optimizer('main').eta == 0


def test_a_resumed_run_has_the_rates_of_an_uninterrupted_run(tmp_path):
    whole = trainer_of(tmp_path, 12, 12)
    whole.run()
    half = trainer_of(tmp_path, 12, 7)
    half.run()
    chainer.serializers.save_npz(tmp_path / 'snapshot.npz', half)
    rest = trainer_of(tmp_path, 12, 12)
    chainer.serializers.load_npz(tmp_path / 'snapshot.npz', rest)
    rest.run()
    assert (
        half.get_extension('Record').rates + rest.get_extension('Record').rates
        == whole.get_extension('Record').rates
    )


NAN = float('nan')


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'total': 0}, 'total = 0: expected an integer >= 1'),
        ({'total': 5, 'warmup': 5}, 'warmup = 5, total = 5: expected 0 <= warmup < total'),
        ({'warmup': -1}, 'warmup = -1: expected an integer >= 0'),
        ({'total': 5.0}, 'total = 5.0: expected an integer'),
        ({'total': NAN}, 'total = nan: expected an integer'),
        ({'warmup': '1'}, "warmup = '1': expected an integer"),
        ({'init': NAN}, 'init = nan: expected a finite number >= 0'),
        ({'init': -1}, 'init = -1: expected'),
        ({'init': float('inf')}, 'init = inf: expected'),
        ({'init': '0.1'}, "init = '0.1': expected"),
        ({'init': True}, 'init = True: expected'),
        ({'attr': None}, 'attr = None: expected the name of an attribute'),
    ],
)
def test_wrong_arguments_are_named(changed, message):
    with pytest.raises((TypeError, ValueError), match=message):
        CosineShift(**{'attr': 'lr', 'init': 1, 'total': 10, **changed})


@pytest.mark.parametrize('attr', ['lrr', 'learning_rate', 'target', 'update', '', 'lr'])
def test_an_attribute_that_the_optimizer_does_not_have_is_an_error(tmp_path, attr):
    trainer = trainer_of(tmp_path, 12, 12)
    optimizer = trainer.updater.get_optimizer('main')
    message = f'attr = {attr!r}: Adam has no such number.* such as eta or alpha$'
    with pytest.raises(AttributeError, match=message):
        CosineShift(attr, 0.1, 10, optimizer=optimizer)
    trainer.extend(CosineShift(attr, 0.1, 10), name='wrong')
    with pytest.raises(AttributeError, match=message):
        trainer.run(show_loop_exception_msg=False)
    assert attr in ('target', 'update', 'lr') or attr not in vars(optimizer)
    assert trainer.updater.iteration == 0


def test_the_attribute_may_be_behind_the_optimizer_of_chainermn():
    class MultiNodeOptimizer:  # passes attributes on, as ChainerMN's does
        def __init__(self, actual):
            super().__setattr__('actual', actual)

        def __getattr__(self, name):
            return getattr(self.actual, name)

    CosineShift('lr', 0.1, 10, optimizer=MultiNodeOptimizer(chainer.optimizers.SGD()))
