import chainer
import numpy as np
import pytest

from chainer_ssd.runtime import TimeReport, time_report


class Clock:
    """Clock that advances in ``sleep`` only."""

    now = 0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


time = Clock()


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    monkeypatch.setattr(time_report, 'time', time)


class Sleep(chainer.FunctionNode):
    """Identity. Each direction takes a given time."""

    def __init__(self, forward, backward):
        self.seconds = forward, backward

    def forward(self, inputs):
        time.sleep(self.seconds[0])
        return inputs

    def backward(self, indexes, grad_outputs):
        time.sleep(self.seconds[1])
        return grad_outputs


class Model(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.linear = chainer.links.Linear(1, 1)

    def forward(self, x):
        return Sleep(20, 40).apply((self.linear(x),))[0]


class TrainChain(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.model = Model()

    def forward(self, x):
        return Sleep(30, 10).apply((chainer.functions.sum(self.model(x)),))[0]


class Data(chainer.dataset.DatasetMixin):
    def __len__(self):
        return 100

    def get_example(self, i):
        time.sleep(1)
        return np.ones(1, 'f')


class MultiNodeOptimizer:
    """Gradients, all-reduce, then the actual optimizer without a loss, as in ChainerMN."""

    def __init__(self, optimizer):
        self.__dict__.update(actual=optimizer, communicator=object())

    def update(self, lossfun, *args):
        loss = lossfun(*args)
        self.target.cleargrads()
        loss.backward()
        time.sleep(60)
        self.actual.update(None)

    def __getattr__(self, name):
        return getattr(self.actual, name)

    def __setattr__(self, name, value):
        setattr(self.actual, name, value)


def trainer_of(out, wrap=None, **options):
    chain = TrainChain()
    optimizer = chainer.optimizers.SGD().setup(chain)
    optimizer.add_hook(lambda _: time.sleep(50), 'slow')
    optimizer = wrap(optimizer) if wrap else optimizer
    iterator = chainer.iterators.SerialIterator(Data(), 2)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    trainer = chainer.training.Trainer(updater, (3, 'iteration'), out)
    trainer.extend(TimeReport(**options))

    @chainer.training.make_extension(trigger=(1, 'iteration'))
    def extension(trainer):
        records.append({key: value for key, value in trainer.observation.items() if 'time' in key})
        chain.model(np.ones((1, 1), 'f'))  # as an evaluator does
        time.sleep(100)

    records = []
    trainer.extend(extension)
    return trainer, records


@pytest.mark.parametrize('synchronize', [False, True])
def test_each_part_has_its_own_seconds(tmp_path, synchronize):
    trainer, records = trainer_of(tmp_path, synchronize=synchronize)
    trainer.run()
    first = {
        'main/time/data': 2,
        'main/time/forward': 20,
        'main/time/loss': 30,
        'main/time/backward': 50,
        'main/time/update': 50,
        'main/time/extensions': 0,
    }
    # The extension calls the model outside of the training's forward pass.
    assert records == [first] + [{**first, 'main/time/extensions': 20 + 100}] * 2


def test_an_evaluation_of_the_target_itself_is_an_extension(tmp_path):
    trainer, records = trainer_of(tmp_path)
    chain = trainer.updater.get_optimizer('main').target
    evaluator = chainer.training.extensions.Evaluator(
        chainer.iterators.SerialIterator(Data(), 50, repeat=False, shuffle=False), chain
    )
    trainer.extend(evaluator, trigger=(1, 'iteration'))
    trainer.run()
    own = {'main/time/data': 2, 'main/time/forward': 20, 'main/time/loss': 30}
    for record in records[1:]:
        assert {**record, **own} == record
        assert record['main/time/extensions'] == 120 + 100 + 2 * (20 + 30)  # data of 100, 2 batches


def test_the_all_reduce_of_chainermn_is_a_part_of_its_own(tmp_path):
    trainer, records = trainer_of(tmp_path, MultiNodeOptimizer)
    trainer.updater.get_optimizer('main').remove_hook('slow')
    trainer.run()
    for record in records:
        assert list(record)[3:6] == [
            'main/time/backward',
            'main/time/allreduce',
            'main/time/update',
        ]
        assert list(record.values())[3:6] == [50, 60, 0]


def test_all_hooks_are_removed(tmp_path):
    trainer, _ = trainer_of(tmp_path)
    trainer.run()
    optimizer = trainer.updater.get_optimizer('main')
    assert not chainer.get_function_hooks()
    assert not optimizer.target.local_link_hooks and not optimizer.target.model.local_link_hooks
    with pytest.raises(KeyError):
        optimizer.remove_hook('TimeReport pre')
    trainer, records = trainer_of(tmp_path)  # another training in the same process
    trainer.run()
    assert len(records) == 3


def test_the_weights_are_those_of_a_run_without_it(tmp_path):
    weights = []
    for extended in (True, False):
        trainer, _ = trainer_of(tmp_path)
        trainer.updater.get_optimizer('main').target.model.linear.W.array[:] = 2
        if not extended:
            trainer.get_extension('TimeReport').initialize = lambda trainer: None
            trainer.get_extension('TimeReport').finalize = lambda: None
            trainer._extensions.pop('TimeReport')
        trainer.run()
        weights.append(trainer.updater.get_optimizer('main').target.model.linear.W.array.tolist())
    assert weights[0] == weights[1]
