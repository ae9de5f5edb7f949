"""The curves of a resumed run are those of an uninterrupted run."""

import chainer
import numpy as np
import pytest
from chainer.training import triggers

from chainer_ssd import Snapshot
from chainer_ssd.runtime import PlotReport

matplotlib = pytest.importorskip('matplotlib', reason='matplotlib is missing')
matplotlib.use('Agg')
TRIGGERS = [(4, 'iteration'), triggers.ManualScheduleTrigger([2, 5, 9], 'iteration')]


class Updater(chainer.training.updaters.StandardUpdater):
    """Reports the number of the iteration."""

    def update_core(self):
        chainer.report({'x': self.iteration}, self.get_optimizer('main').target)


def make_trainer(folder, stop, trigger, keys=('main/x',)):
    model = chainer.links.Linear(1, 1)
    iterator = chainer.iterators.SerialIterator(np.zeros((4, 1), 'f'), 2)
    updater = Updater(iterator, chainer.optimizers.SGD().setup(model))
    trainer = chainer.training.Trainer(updater, (stop, 'iteration'), folder)
    trainer.extend(PlotReport(keys, trigger=trigger, filename='x.png'), name='plot')
    trainer.extend(Snapshot(folder), trigger=(1, 'iteration'))
    return trainer


def points(trainer):
    return trainer.get_extension('plot')._data['main/x']


@pytest.mark.parametrize('trigger', TRIGGERS, ids=['interval', 'schedule'])
@pytest.mark.parametrize('stop', [1, 3, 5, 6])
def test_a_resumed_run_has_the_points_of_an_uninterrupted_run(tmp_path, trigger, stop):
    whole = make_trainer(tmp_path / 'whole', 10, trigger)
    whole.run()
    first = make_trainer(tmp_path, stop, trigger)
    first.run()
    resumed = make_trainer(tmp_path, 10, trigger)
    assert Snapshot(tmp_path).resume(resumed) == stop
    resumed.run()
    assert list(map(list, points(resumed))) == list(map(list, points(whole)))
    assert (tmp_path / 'x.png').stat().st_size > 1000


@pytest.mark.parametrize('name', ['$', '$x$', r'$\frac{$', '_^{', '\\'])
def test_names_are_plain_text(tmp_path, name):
    trainer = make_trainer(tmp_path, 1, (1, 'iteration'), ['main/x', name])
    trainer.extend(
        lambda trainer: trainer.observation.update({name: 1.0}),
        trigger=(1, 'iteration'),
        priority=999,
    )
    trainer.run(show_loop_exception_msg=False)
    assert (tmp_path / 'x.png').stat().st_size > 1000


def test_a_file_that_cannot_be_written_is_one_warning(tmp_path):
    trainer = make_trainer(tmp_path, 3, (1, 'iteration'))
    (tmp_path / 'x.png').mkdir()
    with pytest.warns(UserWarning, match='x.png is not written: .*directory') as caught:
        trainer.run()
    assert len(caught) == 1


def test_a_link_in_the_folder_is_replaced(tmp_path):
    target = tmp_path / 'precious.png'
    target.write_text('content')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/x.png').symlink_to(target)
    make_trainer(tmp_path / 'out', 1, (1, 'iteration')).run()
    assert target.read_text() == 'content'
    assert not (tmp_path / 'out/x.png').is_symlink()
