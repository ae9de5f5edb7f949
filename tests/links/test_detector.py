import io
import json
import zipfile

import chainer
import numpy as np
import pytest

from chainer_ssd import SSDMini
from tests.links import detector_folder
from tests.cli.detector_folder import LABEL_NAMES

import detector  # isort: skip (an example: detector_folder has made it importable)


@pytest.fixture
def folder(tmp_path):
    return detector_folder.write(tmp_path / 'result')


def test_a_written_detector_is_read_back(folder):
    assert json.loads((folder / 'model.json').read_text(encoding='utf-8')) == {
        'model': 'ssd_mini',
        'insize': 32,
        'box_scale': 1,
        'label_names': list(LABEL_NAMES),
    }
    model, label_names = detector.load_detector(folder)
    assert label_names == LABEL_NAMES
    assert type(model) is SSDMini and model.insize == 32
    with np.load(folder / 'model.npz') as weights:
        assert len(weights.files) == len(list(model.namedparams())) + len(
            [name for link in model.links() for name in link._persistent]
        )
        for name, parameter in model.namedparams():
            np.testing.assert_array_equal(parameter.array, weights[name[1:]])


def test_names_survive_in_any_script(tmp_path):
    names = ('白血球', 'тромбоцит')
    assert detector.load_detector(detector_folder.write(tmp_path, names))[1] == names


def test_create_model_has_the_models_defaults_and_takes_options():
    assert detector.create_model('ssd_mini', 1).insize == SSDMini(1).insize
    plain = detector.create_model('ssd_mini', 1, norm=lambda n: chainer.links.Scale(W_shape=(n,)))
    assert not any(isinstance(link, chainer.links.BatchNormalization) for link in plain.links())


def test_scaled_default_boxes_are_read_back(folder):
    model = detector.create_model('ssd_mini', 2, 32, box_scale=0.5)
    whole = detector.create_model('ssd_mini', 2, 32).coder.default_bbox
    detector.save_description(folder, 'ssd_mini', model, LABEL_NAMES, box_scale=0.5)
    for default_bbox in (
        model.coder.default_bbox,
        detector.load_detector(folder)[0].coder.default_bbox,
    ):
        np.testing.assert_array_equal(default_bbox[:, :2], whole[:, :2])
        np.testing.assert_array_equal(default_bbox[:, 2:], whole[:, 2:] / 2)


@pytest.mark.parametrize(
    'args, message',
    [
        (('yolo', 3), "model 'yolo': expected one of ssd_mini, ssd300, ssd512"),
        (('ssd_mini', 3, 100), 'insize = 100: expected a multiple of 32'),
        (('ssd_mini', 0), 'n_fg_class = 0'),
    ],
)
def test_no_such_model(args, message):
    with pytest.raises(ValueError, match=message):
        detector.create_model(*args)


def test_a_training_that_is_not_finished_is_told_from_a_folder_of_something_else(folder, tmp_path):
    (folder / 'model.npz').unlink()
    with pytest.raises(FileNotFoundError, match=r'model\.npz: .*not finished'):
        detector.load_detector(folder)
    (tmp_path / 'empty').mkdir()
    for other in (tmp_path / 'empty', tmp_path / 'nowhere'):
        with pytest.raises(FileNotFoundError, match=r'model\.json: no such file; .*train\.py'):
            detector.load_detector(other)
    with pytest.raises(FileNotFoundError, match=r'model\.json: not a folder; .*train\.py'):
        detector.load_detector(folder / 'model.json')


@pytest.mark.parametrize(
    'text, message',
    [
        ('{', 'not a well-formed JSON file'),
        ('[]', "'model' is None, expected a str"),
        ('{"model": "ssd_mini", "insize": "32", "label_names": ["a"]}', "'insize' is '32'"),
        ('{"model": "ssd_mini", "insize": 32, "label_names": "ab"}', "'label_names' is 'ab'"),
        ('{"model": "ssd_mini", "insize": 32, "label_names": []}', 'expected one name or more'),
        ('{"model": "ssd_mini", "insize": 32, "label_names": [1]}', 'expected one name or more'),
        ('{"model": "yolo", "insize": 32, "label_names": ["a"]}', "model 'yolo': expected one of"),
        ('{"model": "ssd_mini", "insize": 30, "label_names": ["a"]}', 'insize = 30'),
    ],
)
def test_a_bad_description_is_named(folder, text, message):
    (folder / 'model.json').write_text(text)
    with pytest.raises(ValueError, match=r'model\.json: ') as error:
        detector.load_detector(folder)
    assert message in str(error.value)


def npy():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def change_byte(path):
    with zipfile.ZipFile(path) as file:  # headers hold bytes that nobody reads
        largest = max(file.infolist(), key=lambda info: info.compress_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + largest.compress_size // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda path: path.write_bytes(b''),
        lambda path: path.write_text('no weights'),
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        change_byte,
        lambda path: np.savez(path, other=np.zeros(3)),
        lambda path: path.write_bytes(npy()),
    ],
)
def test_bad_weights_are_named(folder, spoil):
    spoil(folder / 'model.npz')
    with pytest.raises(ValueError, match=r'model\.npz: expected the weights of ssd_mini'):
        detector.load_detector(folder)


def test_weights_that_the_model_does_not_have_are_named(folder):
    with np.load(folder / 'model.npz') as weights:
        np.savez(folder / 'model.npz', **weights, **{'stage99/W': np.zeros(3)})
    with pytest.raises(ValueError, match=r"model\.npz: expected .* the model has no 'stage99/W'"):
        detector.load_detector(folder)


def test_weights_for_other_classes_are_named(folder):
    detector.save_description(folder, 'ssd_mini', detector.create_model('ssd_mini', 3, 32), 'abc')
    with pytest.raises(ValueError, match=r'model\.npz: expected .* 32 pixels and 3 classes'):
        detector.load_detector(folder)


class Trap:
    def __reduce__(self):
        return pytest.fail, ('unpickled',)


def test_a_pickle_is_not_opened(folder):
    with np.load(folder / 'model.npz') as weights:
        arrays = dict(weights)
    arrays[next(iter(arrays))] = np.array([Trap()], dtype=object)
    np.savez(folder / 'model.npz', **arrays)
    with pytest.raises(ValueError, match='pickle'):
        detector.load_detector(folder)
