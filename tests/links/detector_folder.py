"""What train.py leaves behind, without the training."""

import sys
from pathlib import Path

import chainer
import numpy as np

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
sys.path.append(str(EXAMPLES))  # they import one another as scripts do

LABEL_NAMES = ('blue', 'red')


def write(folder, label_names=LABEL_NAMES):
    """A folder that predict.py and evaluate.py take; its detections are many, and random."""
    from detector import WEIGHTS, create_model, save_description

    np.random.seed(0)
    model = create_model('ssd_mini', len(label_names), 32)
    save_description(folder, 'ssd_mini', model, label_names)
    chainer.serializers.save_npz(folder / WEIGHTS, model)
    return folder


def run(monkeypatch, capsys, module, *args):
    """Exit status, output and errors of a script, run in this process."""
    monkeypatch.setattr(sys, 'argv', [f'{module.__name__}.py', *map(str, args)])
    status = 0
    try:
        module.main()
    except SystemExit as end:
        status = end.code
    return status, *capsys.readouterr()
