"""Weights with PyTorch's names, and back."""

import chainer
import chainer.links as L
import numpy as np
import pytest

from chainer_ssd import SSD300, SSDMini
from chainer_ssd.export import export_torch, load_state_dict, load_torch, to_state_dict

NAMES = {
    'stem/conv/W': 'stem.conv.weight',
    'stage8/0/norm/gamma': 'stage8.0.norm.weight',
    'stage8/0/norm/beta': 'stage8.0.norm.bias',
    'stage8/0/norm/avg_mean': 'stage8.0.norm.running_mean',
    'stage8/0/norm/avg_var': 'stage8.0.norm.running_var',
    'stage8/0/norm/N': 'stage8.0.norm.num_batches_tracked',
    'heads/0/conv/b': 'heads.0.conv.bias',
}


@pytest.fixture
def model():
    model = SSDMini(3, 64)
    with chainer.using_config('train', True):  # changes the statistics
        model(np.random.default_rng(0).uniform(0, 255, (2, 3, 64, 64)).astype(np.float32))
    return model


def values_of(model):
    serializer = chainer.serializers.DictionarySerializer()
    serializer.save(model)
    return {name: np.asarray(value) for name, value in serializer.target.items()}


def assert_equal(one, other):
    one, other = values_of(one), values_of(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_names_and_values(model):
    state_dict, values = to_state_dict(model), values_of(model)
    assert len(state_dict) == len(values)
    for chainer_name, torch_name in NAMES.items():
        np.testing.assert_array_equal(state_dict[torch_name], values[chainer_name])
    assert state_dict['stage8.0.norm.num_batches_tracked'].dtype == np.int64
    assert 'extractor.norm4.scale' in to_state_dict(SSD300(2))


def test_there_and_back(model):
    other = SSDMini(3, 64)
    load_state_dict(to_state_dict(model), other)
    assert_equal(other, model)


def test_the_result_is_a_copy(model):
    before = model.stem.conv.W.array.copy()
    to_state_dict(model)['stem.conv.weight'][:] = 0
    np.testing.assert_array_equal(model.stem.conv.W.array, before)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda x: x.pop('stem.conv.weight'), 'stem/conv/W is missing'),
        (lambda x: x.update(other=np.zeros(2)), "the model has no 'other'"),
        (lambda x: x.update({'stem.conv.weight': np.zeros(2, 'f')}), r'has shape \(2,\)'),
        (lambda x: x['stem.conv.weight'].fill(np.nan), 'NaN or inf'),
    ],
)
def test_what_does_not_fit_changes_nothing(model, change, message):
    state_dict, other = to_state_dict(SSDMini(3, 64)), model.copy(mode='copy')
    change(state_dict)
    with pytest.raises(ValueError, match=message):
        load_state_dict(state_dict, model)
    assert_equal(model, other)


def test_a_parameter_without_a_value_is_named():
    with pytest.raises(ValueError, match='W has no value'):
        to_state_dict(L.Linear(None, 2))


def test_files(tmp_path, model):
    torch = pytest.importorskip('torch', reason='PyTorch is not installed')
    export_torch(tmp_path / 'a.pth', model)
    other = SSDMini(3, 64)
    load_torch(tmp_path / 'a.pth', other)
    assert_equal(other, model)
    with pytest.raises(FileNotFoundError):
        load_torch(tmp_path / 'none.pth', other)
    (tmp_path / 'b.pth').write_bytes(b'no weights')
    torch.save([1, 2], tmp_path / 'c.pth')
    for name in 'b.pth', 'c.pth':
        with pytest.raises(ValueError, match=f'{name}: expected a state_dict'):
            load_torch(tmp_path / name, other)


def test_torch_computes_the_same(tmp_path, model):
    """A stage of the network, written in PyTorch, loads the weights by their names."""
    torch = pytest.importorskip('torch', reason='PyTorch is not installed')
    nn = torch.nn

    class Convolution(nn.Module):
        def __init__(self, n_in, n_out, ksize, stride):
            super().__init__()
            pad = (ksize - stride + 1) // 2
            self.conv = nn.Conv2d(n_in, n_out, ksize, stride, pad, bias=False)
            self.norm = nn.BatchNorm2d(n_out, eps=2e-5)

        def forward(self, x):
            return torch.relu(self.norm(self.conv(x)))

    stem = Convolution(3, 32, 6, 4)
    export_torch(tmp_path / 'a.pth', model.stem)
    stem.load_state_dict(torch.load(tmp_path / 'a.pth', weights_only=True))
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 64, 64)).astype(np.float32)
    with chainer.using_config('train', False):
        expected = model.stem(x).array
    found = stem.eval()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
