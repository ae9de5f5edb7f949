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


def trainer_of(out, wrap=None, device=None, **options):
    chain = TrainChain()
    if device:
        chain.to_device(device)
    optimizer = chainer.optimizers.SGD().setup(chain)
    optimizer.add_hook(lambda _: time.sleep(50), 'slow')
    optimizer = wrap(optimizer) if wrap else optimizer
    iterator = chainer.iterators.SerialIterator(Data(), 2)
    updater = chainer.training.StandardUpdater(iterator, optimizer, device=device)
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


class Device:
    """A device with the functions of ``cupy.cuda`` that the report uses.

    Work that is queued takes its time on the device. ``finished`` is how far the device is.
    """

    def __init__(self):
        self.queued, self.finished = 0, 0
        device = self

        class Event:
            def record(self):
                self.time = device.queued

            @property
            def done(self):
                return self.time <= device.finished

        self.Event = Event

    @staticmethod
    def get_elapsed_time(start, end):
        return end.time - start.time

    def run_iteration(self, stopwatch, scale=1):
        for part, milliseconds in (('forward', 3), ('backward', 5), ('backward', 7), ('update', 2)):
            self.queued += scale * milliseconds
            stopwatch.end_part(part)


def test_events_give_the_times_of_iterations_that_the_device_has_finished():
    device = Device()
    stopwatch = time_report._EventStopwatch(['data', 'forward', 'backward', 'update'], device)
    device.run_iteration(stopwatch)
    assert stopwatch.take_seconds() == {}
    device.run_iteration(stopwatch, scale=3)
    assert stopwatch.take_seconds() == {}
    device.run_iteration(stopwatch, scale=10)
    device.finished = 4 * 17
    taken = stopwatch.take_seconds()  # the mean of the first two
    assert taken == pytest.approx({'data': 0, 'forward': 6e-3, 'backward': 24e-3, 'update': 4e-3})
    device.finished = device.queued
    device.run_iteration(stopwatch, scale=2)
    device.finished = device.queued
    assert sum(stopwatch.take_seconds().values()) == pytest.approx((10 + 2) * 17e-3 / 2)


@pytest.mark.gpu
def test_on_a_gpu_events_measure_without_synchronizing(tmp_path, monkeypatch):
    monkeypatch.setattr(time_report, 'time', None)  # the clock of the host is not read
    trainer, records = trainer_of(tmp_path, device='@cupy:0')
    trainer._extensions.pop('extension')
    trainer.stop_trigger = chainer.training.trigger.get_trigger((20, 'iteration'))

    @chainer.training.make_extension(trigger=(1, 'iteration'))
    def record(trainer):
        records.append([value for key, value in trainer.observation.items() if 'time' in key])

    trainer.extend(record)
    trainer.run()
    assert len(records) == 20
    measured = [values for values in records if values]
    assert measured and all(len(values) == 6 and min(values) >= 0 for values in measured)
