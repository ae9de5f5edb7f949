"""chainer-ssd export."""

import numpy as np
import pytest

from chainer_ssd import SSDMini, save_detector
from chainer_ssd.cli import main


@pytest.fixture
def result(tmp_path):
    save_detector(tmp_path / 'result', SSDMini(2, 64), ['cat', 'dog'])
    return tmp_path / 'result'


def test_onnx(result, capsys):
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    main(['export', str(result), '--to', 'onnx', '--batchsize', '2'])
    out = capsys.readouterr().out
    assert 'images float32 2 x 3 x 64 x 64, RGB, 0 to 255 -> boxes, labels, scores' in out
    assert '["cat", "dog"]' in out and (result / 'model.onnx').stat().st_size > 10**6


def test_raw_heads(result, tmp_path, capsys):
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    main(['export', str(result), '--raw-heads', '--out', str(tmp_path / 'a.onnx')])
    assert 'mb_locs, mb_confs' in capsys.readouterr().out
    assert np.load(tmp_path / 'a.default_bbox.npy').shape == (
        len(SSDMini(2, 64).coder.default_bbox),
        4,
    )


def test_torch(result):
    pytest.importorskip('torch', reason='PyTorch is not installed')
    main(['export', str(result), '--to', 'torch'])
    assert (result / 'model.pth').is_file()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--nms', '0'], 'nms_thresh = 0'),
        (['--score', '2'], '2'),
        (['--to', 'tflite'], 'tflite'),
    ],
)
def test_errors(result, capsys, options, message):
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    with pytest.raises(SystemExit) as ended:
        main(['export', str(result), *options])
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_a_missing_detector_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(['export', str(tmp_path / 'none')])
    assert 'none' in capsys.readouterr().err
