"""A detector as a folder."""

import errno
import io
import json
import zipfile

import chainer
import numpy as np
import pytest

from chainer_ssd import SSDMini, load_detector, save_detector
from chainer_ssd.links import create_detector, detector
from chainer_ssd.links.weights import values_of

LABEL_NAMES = ('blue', 'red')


@pytest.fixture
def folder(tmp_path):
    np.random.seed(0)
    save_detector(tmp_path / 'result', SSDMini(2, 32), LABEL_NAMES)
    return tmp_path / 'result'


def test_a_saved_detector_is_loaded(folder):
    assert json.loads((folder / 'model.json').read_text(encoding='utf-8')) == {
        'model': 'ssd_mini',
        'insize': 32,
        'box_scale': 1,
        'label_names': list(LABEL_NAMES),
    }
    model = load_detector(folder)
    assert model.label_names == LABEL_NAMES
    assert type(model) is SSDMini and model.insize == 32
    with np.load(folder / 'model.npz') as weights:
        assert len(weights.files) == len(list(model.namedparams())) + len(
            [name for link in model.links() for name in link._persistent]
        )
        for name, parameter in model.namedparams():
            np.testing.assert_array_equal(parameter.array, weights[name[1:]])
    bboxes, labels, scores = model.predict([np.zeros((3, 40, 50), 'f')])
    assert len(bboxes) == len(labels) == len(scores) == 1


def test_a_folder_of_version_0_1_loads(folder):
    model = load_detector(folder)
    chainer.serializers.save_npz(folder / 'model.npz', model)
    (folder / 'model.json').write_text(
        '{"model": "ssd_mini", "insize": 32, "label_names": ["blue", "red"]}'
    )
    again = load_detector(str(folder))
    assert again.label_names == LABEL_NAMES and again.box_scale == 1
    np.testing.assert_array_equal(again.stem.conv.W.array, model.stem.conv.W.array)


def test_names_survive_in_any_script(tmp_path):
    names = ('白血球', 'тромбоцит')
    save_detector(tmp_path, SSDMini(2, 32), names)
    assert load_detector(tmp_path).label_names == names


class Custom(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.conv = chainer.links.Convolution2D(3, 4, 1)


def test_a_custom_network_is_saved_and_loaded_into_a_model(tmp_path):
    model = Custom()
    save_detector(tmp_path, model, ['a'])
    with pytest.raises(ValueError, match="'model' is 'Custom', expected one of .*load_detector"):
        load_detector(tmp_path)
    other = Custom()
    assert load_detector(tmp_path, other) is other and other.label_names == ('a',)
    np.testing.assert_array_equal(other.conv.W.array, model.conv.W.array)


@pytest.mark.parametrize(
    'label_names, error',
    [('ab', TypeError), ({'a', 'b'}, TypeError), (['a', 'a'], ValueError), (['a'], ValueError)],
)
def test_bad_label_names_are_refused(tmp_path, label_names, error):
    with pytest.raises(error, match='label_names'):
        save_detector(tmp_path / 'result', SSDMini(2, 32), label_names)
    assert not (tmp_path / 'result').exists()


def test_a_file_that_cannot_be_written_leaves_the_old_one(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fill_disk(file, **arrays):
        file.write(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(np, 'savez', fill_disk)
    with pytest.raises(OSError, match=r'No space left on device: .*model\.npz'):
        save_detector(folder, SSDMini(2, 32), LABEL_NAMES)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_create_detector_has_the_defaults_of_the_model_and_takes_options():
    assert create_detector('ssd_mini', 1).insize == SSDMini(1).insize
    plain = create_detector('ssd_mini', 1, norm=lambda n: chainer.links.Scale(W_shape=(n,)))
    assert not any(isinstance(link, chainer.links.BatchNormalization) for link in plain.links())


def test_scaled_default_boxes_are_loaded(folder):
    model = create_detector('ssd_mini', 2, 32, box_scale=0.5)
    unscaled = create_detector('ssd_mini', 2, 32).coder.default_bbox
    save_detector(folder, model, LABEL_NAMES)
    for default_bbox in (model.coder.default_bbox, load_detector(folder).coder.default_bbox):
        np.testing.assert_array_equal(default_bbox[:, :2], unscaled[:, :2])
        np.testing.assert_array_equal(default_bbox[:, 2:], unscaled[:, 2:] / 2)


@pytest.mark.parametrize(
    'args, message',
    [
        (('yolo', 3), "model = 'yolo': expected one of .'ssd_mini', 'ssd300', 'ssd512'"),
        (('ssd_mini', 3, 100), 'insize = 100: expected a multiple of 32'),
        (('ssd300', 3, 128), 'insize = 128: ssd300 takes 300 only'),
        (('ssd_mini', 10**9), 'n_fg_class = 1000000000: expected an integer from 1 to 10000'),
        (('ssd_mini', 0), 'n_fg_class = 0'),
        (('ssd_mini', 3, None, None, 'a.npz'), "pretrained_model = 'a.npz': ssd_mini takes none"),
    ],
)
def test_a_model_that_cannot_be_built_is_named(args, message):
    with pytest.raises(ValueError, match=message):
        create_detector(*args)


@pytest.mark.parametrize(
    'args, message',
    [
        (('ssd300', 3, '300'), "insize = '300': expected an integer"),
        (('ssd_mini', 3, None, 'bn'), "norm = 'bn': expected a callable"),
        (('ssd_mini', '3'), "n_fg_class = '3': expected an integer"),
    ],
)
def test_an_option_of_a_wrong_type_is_named(args, message):
    with pytest.raises(TypeError, match=message):
        create_detector(*args)


@pytest.mark.parametrize('model', [None, 'ssd_mini', 3, SSDMini])
def test_what_is_no_model_is_named(folder, tmp_path, model):
    with pytest.raises(TypeError, match=r'^model = .*: expected a chainer\.Link'):
        save_detector(tmp_path / 'other', model, LABEL_NAMES)
    assert not (tmp_path / 'other').exists()
    if model is not None:
        with pytest.raises(TypeError, match=r'^model = .*: expected a chainer\.Link'):
            load_detector(folder, model)


def test_numbers_of_numpy_are_saved(tmp_path):
    model = SSDMini(np.int64(2), np.int32(32), box_scale=np.float32(0.5))
    save_detector(tmp_path, model, np.array(LABEL_NAMES))
    again = load_detector(tmp_path)
    assert (again.n_fg_class, again.insize, again.box_scale) == (2, 32, 0.5)
    assert again.label_names == LABEL_NAMES


def test_names_that_are_no_text_are_refused_before_a_file_is_written(tmp_path):
    with pytest.raises(ValueError, match="'label_names' is .*expected texts"):
        save_detector(tmp_path / 'result', SSDMini(1, 32), ['\ud800'])
    assert not (tmp_path / 'result').exists()


@pytest.mark.parametrize(
    'model, message',
    [
        (lambda: SSDMini(3, 32), r'n_fg_class is 2: expected 3, as model has it'),
        (lambda: SSDMini(2, 64), r'insize is 32: expected 64'),
        (lambda: SSDMini(2, 32, box_scale=0.5), r'box_scale is 1: expected 0\.5'),
    ],
)
def test_a_given_model_with_other_classes_or_boxes_is_refused(folder, model, message):
    with pytest.raises(ValueError, match=rf'model\.json: {message}.*load_weights'):
        load_detector(folder, model())


def test_more_classes_than_the_weights_can_hold_are_refused_before_they_need_memory(
    folder, monkeypatch
):
    description = json.loads((folder / 'model.json').read_text())
    description['label_names'] = [str(i) for i in range(10_000)]
    (folder / 'model.json').write_text(json.dumps(description))
    built = []
    monkeypatch.setitem(
        detector.MODELS, 'ssd_mini', lambda n, **options: built.append(n) or SSDMini(n, **options)
    )
    with pytest.raises(
        ValueError, match=r"model\.json: 'label_names' has 10000 names, expected at"
    ):
        load_detector(folder)
    assert built == [1]


def test_a_detector_of_many_classes_loads(tmp_path):
    names = [str(i) for i in range(detector.MANY_CLASSES + 1)]
    model = SSDMini(len(names), 32)
    save_detector(tmp_path, model, names)
    values = {
        name: value.astype('f2') if value.dtype.kind == 'f' else value
        for name, value in values_of(model).items()
    }
    np.savez_compressed(tmp_path / 'model.npz', **values)
    assert load_detector(tmp_path).label_names == tuple(names)


def test_a_missing_file_is_named(folder, tmp_path):
    (folder / 'model.npz').unlink()
    with pytest.raises(FileNotFoundError, match=r'model\.npz: .*with its first evaluation'):
        load_detector(folder)
    (tmp_path / 'empty').mkdir()
    for other in (tmp_path / 'empty', tmp_path / 'nowhere'):
        with pytest.raises(FileNotFoundError, match=r'model\.json: no such file. Expected'):
            load_detector(other)
    with pytest.raises(FileNotFoundError, match=r'model\.json: not a folder. Expected'):
        load_detector(folder / 'model.json')


@pytest.mark.parametrize(
    'text, message',
    [
        ('{', 'not a well-formed JSON file'),
        ('[]', "'model' is None, expected a str"),
        ('{"model": "ssd_mini", "insize": "32", "label_names": ["a"]}', "'insize' is '32'"),
        ('{"model": "ssd_mini", "insize": 32, "label_names": "ab"}', "'label_names' is 'ab'"),
        (
            '{"model": "ssd_mini", "insize": 32, "label_names": []}',
            "'label_names' has 0 names, expected 1 to",
        ),
        (
            '{"model": "ssd_mini", "insize": 32, "label_names": [1]}',
            "'label_names' is [1], expected texts",
        ),
        ('{"model": "yolo", "insize": 32, "label_names": ["a"]}', "'model' is 'yolo', expected"),
        (
            '{"model": "ssd_mini", "insize": 32, "box_scale": NaN, "label_names": ["a"]}',
            "'box_scale' is nan",
        ),
        ('{"model": "ssd_mini", "insize": null, "label_names": ["a"]}', "'insize' is None"),
        ('{"model": "ssd_mini", "label_names": ["a"]}', "'insize' is None, expected an int"),
        ('{"model": "ssd_mini", "insize": 32, "label_names": ["\\ud800"]}', 'expected texts'),
        (
            '{"model": "ssd_mini", "insize": 32, "box_scale": 1e-30, "label_names": ["a"]}',
            'box_scale = 1e-30: expected default boxes with an area that float32 can hold',
        ),
        (
            '{"model": "ssd_mini", "insize": 32, "box_scale": 1e30, "label_names": ["a"]}',
            'box_scale = 1e+30: expected default boxes',
        ),
        ('{"model": "ssd_mini", "insize": 30, "label_names": ["a"]}', 'insize = 30'),
        ('{"model": "ssd_mini", "insize": 1000000, "label_names": ["a"]}', 'insize = 1000000'),
        ('{"model": "ssd_mini", "insize": 0, "label_names": ["a"]}', 'insize = 0'),
        ('{"model": "ssd_mini", "insize": true, "label_names": ["a"]}', "'insize' is True"),
        ('{"model": "ssd300", "insize": 512, "label_names": ["a"]}', 'insize = 512'),
        (
            '{"model": "ssd_mini", "insize": 32, "box_scale": 0, "label_names": ["a"]}',
            'box_scale = 0: expected a finite number > 0',
        ),
        (
            '{"model": "ssd_mini", "insize": 32, "box_scale": -1, "label_names": ["a"]}',
            'box_scale = -1',
        ),
        (
            '{"model": "ssd_mini", "insize": 32, "box_scale": "1", "label_names": ["a"]}',
            "'box_scale' is '1'",
        ),
        ('{"model": "ssd_mini", "insize": 32, "label_names": ["a", "a"]}', 'each once'),
        ('{"model": "ssd_mini", "insize": 32, "label_names": {"a": 1}}', "'label_names' is {"),
        (
            json.dumps(
                {'model': 'ssd_mini', 'insize': 32, 'label_names': [str(i) for i in range(10**5)]}
            ),
            "'label_names' has 100000 names",
        ),
    ],
)
def test_a_bad_description_is_named(folder, text, message):
    (folder / 'model.json').write_text(text)
    with pytest.raises(ValueError, match=r'model\.json: ') as error:
        load_detector(folder)
    assert message in str(error.value)


def npy():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def change_byte(path):
    with zipfile.ZipFile(path) as file:  # not in the headers, where some bytes are not read
        largest = max(file.infolist(), key=lambda info: info.compress_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.compress_size // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    'damage',
    [
        lambda path: path.write_bytes(b''),
        lambda path: path.write_text('no weights'),
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        change_byte,
        lambda path: np.savez(path, other=np.zeros(3)),
        lambda path: path.write_bytes(npy()),
    ],
)
def test_bad_weights_are_named(folder, damage):
    damage(folder / 'model.npz')
    with pytest.raises(ValueError, match=r'model\.npz: expected the weights of ssd_mini'):
        load_detector(folder)


def test_scalars_are_not_broadcast_into_weights(folder):
    with np.load(folder / 'model.npz') as weights:
        arrays = dict(weights)
    arrays['stem/conv/W'] = np.float32(1)
    np.savez(folder / 'model.npz', **arrays)
    with pytest.raises(ValueError, match=r'stem/conv/W has shape \(\): expected \(32, 3, 6, 6\)'):
        load_detector(folder)


def test_weights_that_the_model_does_not_have_are_named(folder):
    with np.load(folder / 'model.npz') as weights:
        np.savez(folder / 'model.npz', **weights, **{'stage99/W': np.zeros(3)})
    with pytest.raises(ValueError, match=r"model\.npz: expected .* the model has no 'stage99/W'"):
        load_detector(folder)


def test_the_name_of_unknown_weights_is_one_short_line(folder):
    with np.load(folder / 'model.npz') as weights:
        np.savez(folder / 'model.npz', **weights, **{'\x1b[2J\n' + 'f' * 60_000: np.zeros(3)})
    with pytest.raises(ValueError, match='the model has no') as error:
        load_detector(folder)
    assert len(str(error.value)) < 1000 and str(error.value).isprintable()


@pytest.mark.parametrize(
    'dtype, message',
    [('c8', 'dtype complex64'), ('U8', 'dtype <U8'), ('?', 'dtype bool'), ('M8[s]', 'datetime64')],
)
def test_weights_that_are_no_numbers_are_named(folder, dtype, message):
    with np.load(folder / 'model.npz') as weights:
        arrays = dict(weights)
    arrays['stem/conv/W'] = arrays['stem/conv/W'].astype(dtype)
    np.savez(folder / 'model.npz', **arrays)
    with pytest.raises(ValueError, match='stem/conv/W has dtype .*expected numbers') as error:
        load_detector(folder)
    assert message in str(error.value)


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite_are_named(folder, value):
    with np.load(folder / 'model.npz') as weights:
        arrays = dict(weights)
    arrays['stem/conv/W'] = np.full((32, 3, 6, 6), value)
    np.savez(folder / 'model.npz', **arrays)
    with pytest.raises(ValueError, match='stem/conv/W holds NaN or inf.*finite numbers of float32'):
        load_detector(folder)


def test_weights_for_other_classes_are_named(folder):
    description = json.loads((folder / 'model.json').read_text())
    description['label_names'] = ['a', 'b', 'c']
    (folder / 'model.json').write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r'model\.npz: expected .* 32 pixels and 3 classes'):
        load_detector(folder)


class Trap:
    def __reduce__(self):
        return pytest.fail, ('unpickled',)


def test_a_pickle_is_not_opened(folder):
    with np.load(folder / 'model.npz') as weights:
        arrays = dict(weights)
    arrays[next(iter(arrays))] = np.array([Trap()], dtype=object)
    np.savez(folder / 'model.npz', **arrays)
    with pytest.raises(ValueError, match='pickle'):
        load_detector(folder)
