"""Weights of a stranger's file: without pickle, all or nothing, and never silently nothing."""

import os
import pickle
import tracemalloc

import chainer
import numpy as np
import pytest

from chainer_ssd import MultiboxTrainChain, SSDMini, save_detector
from chainer_ssd.links import load_pretrained, load_weights


def state_of(model):
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(model)
    return {name: np.array(value) for name, value in serializer.target.items()}


def model_of(n_fg_class=3, seed=0):
    np.random.seed(seed)
    return SSDMini(n_fg_class, 32)


@pytest.fixture
def saved(tmp_path):
    """A file of weights, and the values in it."""
    model = model_of(seed=1)
    chainer.serializers.save_npz(tmp_path / 'model.npz', model)
    return tmp_path / 'model.npz', state_of(model)


def assert_equal_states(state, expected):
    assert state.keys() == expected.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(value, expected[name], name)


def test_all_weights_are_loaded(saved):
    path, expected = saved
    model = model_of()
    assert load_weights(path, model) == ()
    assert_equal_states(state_of(model), expected)


@pytest.mark.parametrize(
    'prefix',
    [
        'model/',
        'updater/model:main/',
        'updater/model:main/model/',
        'trainer/updater/model:main/model/',
    ],
)
def test_the_model_is_found_in_the_file_of_a_chain_or_a_trainer(tmp_path, prefix):
    source = model_of(seed=1)
    if prefix == 'model/':
        chainer.serializers.save_npz(tmp_path / 'file.npz', MultiboxTrainChain(source))
    else:
        state = {prefix + name: value for name, value in state_of(source).items()}
        np.savez(tmp_path / 'file.npz', **state, **{'updater/iteration': 3})
    model = model_of()
    load_weights(tmp_path / 'file.npz', model)
    assert_equal_states(state_of(model), state_of(source))


@pytest.mark.parametrize(
    'ignore', ['heads/', ['heads/'], ('/heads/0', 'heads/1', 'heads/2', 'heads/3')]
)
def test_ignored_values_stay(saved, ignore):
    path, expected = saved
    model = model_of(20)
    before = state_of(model)
    kept = load_weights(path, model, ignore)
    assert kept == tuple(sorted(name for name in before if name.startswith('heads/')))
    for name, value in state_of(model).items():
        np.testing.assert_array_equal(value, before[name] if name in kept else expected[name])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'stem/conv/W': None}, 'stem/conv/W is missing'),
        ({'stem/conv/W': np.float32(3)}, r'stem/conv/W has shape \(\): expected \(32, 3, 6, 6\)'),
        ({'stem/norm/avg_mean': np.zeros(1, 'f')}, r'avg_mean has shape \(1,\): expected \(32,\)'),
        ({'stem/conv/W': np.zeros((32, 3, 6, 6), complex)}, 'has dtype complex128'),
        ({'stem/conv/W': np.zeros((32, 3, 6, 6), bool)}, 'has dtype bool'),
        ({'stem/conv/W': np.zeros((32, 3, 6, 6), 'U3')}, 'has dtype <U3'),
        ({'stem/conv/W': np.full((32, 3, 6, 6), np.nan)}, 'stem/conv/W holds NaN'),
        ({'stem/norm/avg_var': np.full(32, np.inf)}, 'avg_var holds NaN or inf'),
        ({'heads/0/conv/b': np.zeros(7)}, r'expected \(.*\) of SSDMini\(n_fg_class=3\)'),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(saved, change, message):
    path, arrays = saved
    arrays = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    np.savez(path, **arrays)
    model = model_of()
    before = state_of(model)
    with pytest.raises(ValueError, match=f'{path}: .*{message}'):
        load_weights(path, model)
    assert_equal_states(state_of(model), before)


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ['CHAINER_SSD_TEST_FOLDER'],)


@pytest.mark.parametrize('kind', ['pickle', 'npy', 'object array', 'text', 'empty'])
def test_no_file_runs_code(tmp_path, monkeypatch, kind):
    target = tmp_path / 'ran'
    monkeypatch.setenv('CHAINER_SSD_TEST_FOLDER', str(target))
    path = tmp_path / 'file.npz'
    evil = np.array([Evil()], dtype=object)
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(Evil()))
    elif kind == 'object array':
        np.savez(path, **{'stem/conv/W': evil})
    elif kind == 'npy':
        with path.open('wb') as file:
            np.save(file, evil)
    else:
        path.write_text('' if kind == 'empty' else 'no weights')
    for load in load_weights, load_pretrained:
        with pytest.raises(ValueError, match=f'{path}: expected an npz file') as caught:
            load(path, model_of())
        assert 'allow_pickle' not in str(caught.value)
    assert not target.exists()


def test_nothing_is_never_loaded_in_silence(saved, tmp_path):
    path, _ = saved
    with pytest.raises(ValueError, match='nothing is left to load'):
        load_weights(path, model_of(), ignore='')
    np.savez(tmp_path / 'other.npz', a=np.zeros(3))
    with pytest.raises(ValueError, match='is missing'):
        load_weights(tmp_path / 'other.npz', model_of())
    with pytest.raises(FileNotFoundError):
        load_weights(tmp_path / 'nothing.npz', model_of())
    for ignore in 3, None, [1]:
        with pytest.raises(TypeError, match='ignore = .*: expected a name'):
            load_weights(path, model_of(), ignore)


def test_a_lazy_model_gets_its_shapes(tmp_path):
    source, model = chainer.links.Linear(3, 2), chainer.links.Linear(None, 2)
    chainer.serializers.save_npz(tmp_path / 'file.npz', source)
    load_weights(tmp_path / 'file.npz', model)
    np.testing.assert_array_equal(model.W.array, source.W.array)


@pytest.mark.parametrize('n_fg_class', [3, 20])
@pytest.mark.parametrize('is_folder', [True, False])
def test_pretrained_weights_of_other_classes(tmp_path, n_fg_class, is_folder):
    source = model_of(seed=1)
    save_detector(tmp_path, source, ['a', 'b', 'c'])
    model = model_of(n_fg_class)
    before = state_of(model)
    kept = load_pretrained(tmp_path if is_folder else tmp_path / 'model.npz', model)
    assert bool(kept) == (n_fg_class != 3)
    assert all(name.startswith('heads/') for name in kept)
    for name, value in state_of(model).items():
        if name not in kept:
            np.testing.assert_array_equal(value, state_of(source)[name], name)
            continue
        rows, rows_before, rows_of_source = (
            each.reshape(-1, 5 + n, *each.shape[1:])
            for each, n in (
                (value, n_fg_class),
                (before[name], n_fg_class),
                (state_of(source)[name], 3),
            )
        )
        np.testing.assert_array_equal(rows[:, :4], rows_of_source[:, :4], name)  # offsets
        np.testing.assert_array_equal(rows[:, 4:], rows_before[:, 4:], name)


def test_classes_of_the_same_name_keep_their_weights(tmp_path):
    source = model_of(seed=1)
    save_detector(tmp_path, source, ['a', 'b', 'c'])
    model = model_of(4)
    before = state_of(model)
    kept = load_pretrained(tmp_path, model, ['new', 'c', 'a', 'b'])
    assert set(kept) == {name for name in before if name.startswith('heads/')}
    for name in kept:
        rows, rows_before, rows_of_source = (
            each[name].reshape(-1, 5 + n, *each[name].shape[1:])
            for each, n in ((state_of(model), 4), (before, 4), (state_of(source), 3))
        )
        # Offsets and background, then c, a, b of a, b, c.
        np.testing.assert_array_equal(rows[:, :5], rows_of_source[:, :5], name)
        np.testing.assert_array_equal(rows[:, 5], rows_before[:, 5], name)
        np.testing.assert_array_equal(rows[:, 6:], rows_of_source[:, [7, 5, 6]], name)


def test_as_many_classes_of_other_names_start_anew(tmp_path):
    source = model_of(seed=1)
    save_detector(tmp_path, source, ['a', 'b', 'c'])
    model = model_of()
    before = state_of(model)
    assert load_pretrained(tmp_path, model, ['x', 'y', 'z'])
    row = state_of(model)['heads/3/conv/b'].reshape(-1, 8)
    np.testing.assert_array_equal(row[:, 4:], before['heads/3/conv/b'].reshape(-1, 8)[:, 4:])
    assert load_pretrained(tmp_path, model, ['a', 'b', 'c']) == ()


def test_heads_with_other_default_boxes_start_anew(tmp_path):
    save_detector(tmp_path, model_of(seed=1), ['a', 'b', 'c'])
    model = SSDMini(3, 32, aspect_ratios=[(2, 3), (2,), (2,), (2,)])
    before = state_of(model)
    kept = load_pretrained(tmp_path, model, ['a', 'b', 'c'])
    assert {'heads/0/conv/W', 'heads/0/conv/b'} <= set(kept)
    np.testing.assert_array_equal(state_of(model)['heads/0/conv/W'], before['heads/0/conv/W'])
    assert not (state_of(model)['heads/1/conv/W'] == before['heads/1/conv/W']).all()


@pytest.mark.parametrize('name', ['stem/conv/W', 'unknown'])
def test_a_file_that_expands_to_gigabytes_is_refused_before_it_is_read(saved, name):
    path, arrays = saved
    np.savez_compressed(path, **{**arrays, name: np.zeros((40, 1 << 20), 'f')})
    model = model_of()
    tracemalloc.start()
    try:
        if name == 'unknown':
            load_weights(path, model)
        else:
            with pytest.raises(ValueError, match='expected at most .* bytes of arrays'):
                load_weights(path, model)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_an_ignored_name_that_does_not_exist_is_an_error(saved):
    with pytest.raises(ValueError, match="no parameter of the model begins with 'haeds/'"):
        load_weights(saved[0], model_of(), ignore=['heads/', 'haeds/'])
