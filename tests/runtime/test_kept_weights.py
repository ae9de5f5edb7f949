"""Best weights, early stopping, moving averages and loss scaling, also after a resume."""

import csv
import json
import math

import chainer
import numpy as np
import pytest
from chainer.training import extensions

from chainer_ssd.runtime import (
    BestWeights,
    CSVReport,
    LogStream,
    LossScaling,
    Snapshot,
    StopTrigger,
    TensorBoardReport,
    WeightAverage,
)

VALUES = [0.1, 0.5, math.nan, 0.5, 0.4, 0.3, 0.6, 0.2]


class Model(chainer.Chain):
    """A layer and a normalization with running statistics."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            initial = chainer.initializers.Constant(0.5)
            self.linear = chainer.links.Linear(2, 3, initialW=initial)
            self.norm = chainer.links.BatchNormalization(3)

    def forward(self, x):
        x = chainer.functions.cast(x, self.linear.W.dtype)
        loss = chainer.functions.sum(self.norm(self.linear(x)) ** 2 * (x[:, :1] + 2))
        chainer.report({'loss': loss}, self)
        return loss


def trainer_of(out, n_iteration=8, add=()):
    """Returns a trainer that reports VALUES as ``score``, its model, and what ``add`` returned."""
    model = Model()
    optimizer = chainer.optimizers.Adam(alpha=0.1).setup(model)
    data = [np.array([i, -2 * i], 'f') for i in range(6)]
    iterator = chainer.iterators.SerialIterator(data, 2, shuffle=False)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    stop = StopTrigger(n_iteration)
    trainer = chainer.training.Trainer(updater, stop, str(out))
    trainer.extend(
        lambda trainer: trainer.observation.update(score=VALUES[trainer.updater.iteration - 1]),
        name='score',
        trigger=(1, 'iteration'),
        priority=500,
    )
    added = [each(trainer, model, optimizer) for each in add]
    for each in added:
        trainer.extend(each)
    trainer.extend(Snapshot(out), trigger=(3, 'iteration'))
    return trainer, model, added


def state_of(link):
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(link)
    return {name: np.array(value) for name, value in serializer.target.items()}


def assert_same(a, b):
    a, b = state_of(a), state_of(b)
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


def best_of(max_stale=None):
    return lambda trainer, model, optimizer: BestWeights(model, 'score', max_stale)


def average_of(trainer, model, optimizer):
    return WeightAverage(model, 0.7)


def run_resumed(tmp_path, add, n_iteration=8):
    """Returns what an uninterrupted run and one that is resumed after iteration 3 have added."""
    first, model, added = trainer_of(tmp_path / 'a', n_iteration, add)
    first.run()
    part, _, _ = trainer_of(tmp_path / 'b', 3, add)
    part.run()
    resumed, model_again, added_again = trainer_of(tmp_path / 'c', n_iteration, add)
    assert Snapshot(tmp_path / 'b').resume(resumed) == 3
    resumed.run()
    assert_same(model, model_again)
    return added, added_again


def test_the_best_weights_are_those_of_their_iteration(tmp_path):
    trainer, model, (best,) = trainer_of(tmp_path / 'a', add=[best_of()])
    trainer.run()
    assert (best.value, best.iteration, best.n_stale) == (0.6, 7, 1)
    until_7, expected, _ = trainer_of(tmp_path / 'b', 7)
    until_7.run()
    restored = Model()
    best.restore(restored)
    assert_same(restored, expected)
    last = state_of(model)
    best.restore()
    assert_same(model, expected)
    assert not (state_of(model)['linear/W'] == last['linear/W']).all()


def test_of_equal_values_the_first_one_stays_and_nan_is_never_the_best(tmp_path):
    trainer, _, (best,) = trainer_of(tmp_path, 6, [best_of()])
    trainer.run()
    assert (best.value, best.iteration, best.n_stale) == (0.5, 2, 4)


def test_a_first_value_of_nan_is_replaced(monkeypatch, tmp_path):
    monkeypatch.setitem(globals(), 'VALUES', [math.nan, 0.0, math.nan])
    trainer, _, (best,) = trainer_of(tmp_path, 3, [best_of()])
    trainer.run()
    assert (best.value, best.iteration) == (0, 2)


def test_the_training_ends_early_if_nothing_gets_better(tmp_path):
    trainer, _, (best,) = trainer_of(tmp_path, 8, [best_of(3)])
    trainer.stop_trigger.best = best
    trainer.run()
    assert trainer.updater.iteration == 5 and best.iteration == 2 and best.is_stale


def test_without_a_value_nothing_can_be_restored():
    with pytest.raises(RuntimeError, match='score'):
        BestWeights(Model(), 'score').restore()


@pytest.mark.parametrize('n_iteration', [5, 8])
def test_a_resumed_run_has_the_same_best_weights(tmp_path, n_iteration):
    (best,), (again,) = run_resumed(tmp_path, [best_of()], n_iteration)
    assert (best.value, best.iteration, best.n_stale) == (
        again.value,
        again.iteration,
        again.n_stale,
    )
    restored, restored_again = Model(), Model()
    best.restore(restored)
    again.restore(restored_again)
    assert_same(restored, restored_again)


def test_the_average_is_the_formula(tmp_path):
    history = []

    def record(trainer, model, optimizer):
        extension = chainer.training.make_extension((1, 'iteration'), priority=900)
        return extension(lambda trainer: history.append(state_of(model)))

    start = state_of(Model())
    trainer, model, (average, _) = trainer_of(tmp_path, add=[average_of, record])
    trainer.run()
    expected = {name: value.astype('d') for name, value in start.items()}
    for t, weights in enumerate(history, 1):
        d = min(0.7, (1 + t) / (10 + t))
        for name in expected:
            expected[name] = d * expected[name] + (1 - d) * weights[name]
    found = state_of(average.average)
    for name in set(expected) - {'norm/N'}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)
    assert not np.allclose(found['norm/avg_mean'], state_of(model)['norm/avg_mean'])
    assert all(param.update_rule is None for param in average.average.params())


def test_the_average_does_not_change_the_training_and_resumes_bit_for_bit(tmp_path):
    plain, model, _ = trainer_of(tmp_path / 'plain')
    plain.run()
    trainer, same, _ = trainer_of(tmp_path / 'averaged', add=[average_of])
    trainer.run()
    assert_same(model, same)
    (average,), (again,) = run_resumed(tmp_path, [average_of])
    assert_same(average.average, again.average)


def test_mixed_precision_resumes_bit_for_bit(tmp_path):
    def scaling_of(trainer, model, optimizer):
        return LossScaling(optimizer, interval=2)

    with chainer.using_config('dtype', chainer.mixed16):
        added, again = run_resumed(tmp_path, [scaling_of, average_of])
    scaling, average = added
    assert scaling.scale == again[0].scale > 1
    assert_same(average.average, again[1].average)
    rules = [param.update_rule for param in scaling._optimizer.target.params()]
    wide = [rule._fp32_param for rule in rules if rule._fp32_param is not None]
    rules = [param.update_rule for param in again[0]._optimizer.target.params()]
    wide_again = [rule._fp32_param for rule in rules if rule._fp32_param is not None]
    assert len(wide) == len(wide_again) > 0
    for a, b in zip(wide, wide_again):
        assert a.array.tobytes() == b.array.tobytes()
        # The float32 weights hold what float16 cannot.
    assert any((a.array != a.array.astype('e')).any() for a in wide)


def test_the_log_as_csv_and_as_a_stream(tmp_path):
    sent = []

    def log(trainer, model, optimizer):
        return extensions.LogReport(trigger=(2, 'iteration'))

    trainer, _, _ = trainer_of(
        tmp_path, add=[log, lambda *_: CSVReport(), lambda *_: LogStream(sent.append)]
    )
    trainer.run()
    entries = json.loads((tmp_path / 'log').read_text())
    assert str(sent) == str(entries) and len(entries) == 4  # as texts: NaN equals itself
    with open(tmp_path / 'log.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:3] == ['epoch', 'iteration', 'elapsed_time']
    for row, entry in zip(rows, entries):
        found = {name: float(value) for name, value in row.items() if value}
        assert str(found) == str({name: float(entry[name]) for name in found})  # also NaN


def test_a_resumed_stream_goes_on(tmp_path):
    sent = []

    def log(trainer, model, optimizer):
        return extensions.LogReport(trigger=(1, 'iteration'))

    add = [log, lambda *_: LogStream(sent.append)]
    run_resumed(tmp_path, add, 5)
    iterations = [entry['iteration'] for entry in sent]
    assert iterations == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]  # a whole run, then one in two parts


def test_tensorboard_reads_the_log(tmp_path):
    pytest.importorskip('tensorboardX', reason='needs the extra tensorboard')

    def log(trainer, model, optimizer):
        return extensions.LogReport(trigger=(2, 'iteration'))

    folder = tmp_path / 'tensorboard'
    trainer, _, _ = trainer_of(tmp_path, add=[log, lambda *_: TensorBoardReport(folder)])
    trainer.run()
    from tensorboardX.proto import event_pb2

    (file,) = folder.iterdir()
    content, found, place = file.read_bytes(), {}, 0
    while place < len(content):  # a record: its length, a checksum, the event, a checksum
        length = int.from_bytes(content[place : place + 8], 'little')
        event = event_pb2.Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
    entries = json.loads((tmp_path / 'log').read_text())
    for entry in entries:
        key = 'main/loss', entry['iteration']
        assert found[key] == pytest.approx(entry['main/loss'], rel=1e-6)


def test_wrong_arguments():
    for max_stale in 0, -1:
        with pytest.raises(ValueError, match='max_stale'):
            BestWeights(Model(), 'score', max_stale)
    with pytest.raises(TypeError, match='chainer.Link'):
        BestWeights(3, 'score')
    with pytest.raises(TypeError, match='chainer.Link'):
        WeightAverage(3)
    with pytest.raises(ValueError, match='decay'):
        WeightAverage(Model(), 1.5)
    with pytest.raises(ValueError, match='interval'):
        LossScaling(chainer.optimizers.SGD().setup(Model()), 0)
    with pytest.raises(TypeError, match='send'):
        LogStream(3)
    with pytest.raises(ValueError, match='period'):
        StopTrigger(0)
