"""Writes what ChainerCV's SSD300 and SSD512 compute: ``python -m tests.golden.chainercv_ssd``.

It needs ChainerCV 0.13.1, Chainer 7.8.1 and NumPy 1.23. It writes ``chainercv_ssd300.npz`` and
``chainercv_ssd512.npz`` into its own folder. The tests draw the same weights and images with the
functions of this file.
"""

from pathlib import Path

import numpy as np

N_FG_CLASS = 20
STEP = 97  # one of this many default boxes is kept
SCORE_THRESH = 0.976  # between the scores 0.9764 and 0.9751


def draw_weights(model):
    """Draw uniform weights of He's variance, so that features keep their magnitude.

    The parameters are drawn in the order of their names. The legacy generator draws the same
    numbers with every NumPy.
    """
    random = np.random.RandomState(0)
    for name, param in sorted(model.namedparams()):
        drawn = random.random_sample(param.shape)
        if name.endswith('/W'):
            drawn = (2 * drawn - 1) * np.sqrt(6 / np.prod(param.shape[1:]))
            if name == '/extractor/conv1_1/W':
                drawn /= 64  # because pixels are large
        elif name.endswith('/b'):
            drawn -= 0.5
        elif name.endswith('/scale'):
            drawn = 10 + 20 * drawn
        param.array[...] = drawn


def draw_img(height, width, side):
    """Return an RGB image, 0..255, of squares with one colour each."""
    colors = np.random.RandomState(1).randint(0, 256, (3, height // side, width // side))
    return colors.repeat(side, axis=1).repeat(side, axis=2).astype(np.float32)


def main():
    """Write both files."""
    import chainer
    from chainercv.links import SSD300, SSD512

    for name, Model, side in ('ssd300', SSD300, 10), ('ssd512', SSD512, 16):
        model = Model(N_FG_CLASS)
        x = draw_img(model.insize, model.insize, side) - model.mean
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            model(np.stack([x.astype(np.float32)]))  # creates the parameters
            draw_weights(model)
            mb_locs, mb_confs = model(np.stack([x.astype(np.float32)]))
        answers = {'mb_locs': mb_locs.array[:, ::STEP], 'mb_confs': mb_confs.array[:, ::STEP]}
        answers['names'] = np.array(
            sorted(f'{path} {param.shape}' for path, param in model.namedparams())
        )
        if name == 'ssd300':
            model.score_thresh = SCORE_THRESH
            bboxes, labels, scores = model.predict([draw_img(240, 400, 10)])
            answers.update(bbox=bboxes[0], label=labels[0], score=scores[0])
        np.savez_compressed(Path(__file__).with_name(f'chainercv_{name}.npz'), **answers)


if __name__ == '__main__':
    main()
