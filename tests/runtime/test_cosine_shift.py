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


@pytest.mark.parametrize('total, warmup', [(0, 0), (5, 5), (5, -1)])
def test_wrong_arguments_are_named(total, warmup):
    with pytest.raises(ValueError, match=f'warmup = {warmup}, total = {total}'):
        CosineShift('lr', 1, total, warmup)
