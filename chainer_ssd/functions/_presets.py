"""The choices of parts that other libraries have made."""

from __future__ import annotations

import inspect
from typing import Any, Callable

from chainer_ssd._options import check_choice, check_flag, check_integer
from chainer_ssd.functions.parts.confidence import SigmoidCrossEntropy, SoftmaxCrossEntropy
from chainer_ssd.functions.parts.localization import L2, SmoothL1
from chainer_ssd.functions.parts.mining import AllNegatives, HardExample, HardNegative
from chainer_ssd.functions.parts.normalizers import (
    Boxes,
    Images,
    MatchesAfterMining,
    Positives,
    PositivesOfImages,
)


def choose_parts(peer: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of :class:`MultiboxObjective` that are the choice of a library.

    Parameters
    ----------
    peer : str
        One of the names in ``PEERS``.
    options : dict
        Options of that library.

    Raises
    ------
    ValueError
        If the library is unknown, or an option is not valid.
    TypeError
        If the library has no such option.
    """
    choose = PEERS[check_choice('peer', peer, PEERS)]
    known = inspect.signature(choose).parameters
    for name in options:
        if name not in known:
            raise TypeError(
                f'{peer} has no option {name!r} that changes its objective: expected one of '
                f'{", ".join(known)}'
            )
    return choose(**options)


def _chainercv(k: float = 3.0) -> dict[str, Any]:
    return {'mining': HardNegative(k), 'normalizer': Positives()}


def _ssd_pytorch(neg_pos: float = 3.0) -> dict[str, Any]:
    # At most K − 1 negatives needs no cap: an image with negatives has a positive.
    return {'mining': HardNegative(neg_pos), 'normalizer': Positives()}


def _torchvision(neg_to_pos_ratio: float = 3.0) -> dict[str, Any]:
    return {'mining': HardNegative(neg_to_pos_ratio), 'normalizer': Positives(minimum=1)}


def _paddle(
    neg_pos_ratio: float = 3.0,
    mining_type: str = 'max_negative',
    normalize: bool = True,
    loc_loss_weight: float = 1.0,
    box_normalized: bool = True,
) -> dict[str, Any]:
    if not check_flag('box_normalized', box_normalized):
        raise ValueError(
            'box_normalized = False: PaddlePaddle then adds 1 to each side, for corners that are '
            'numbers of pixels. Expected True, and boxes with 1 added to y_max and x_max'
        )
    if mining_type == 'hard_example':
        raise ValueError(
            "mining_type = 'hard_example': PaddlePaddle's ssd_loss raises for it. Expected "
            "'max_negative', or the library 'caffe'"
        )
    check_choice('mining_type', mining_type, ('max_negative',))
    check_flag('normalize', normalize)
    return {
        'mining': HardNegative(neg_pos_ratio, 'floor', by='own class'),
        'normalizer': MatchesAfterMining() if normalize else 1.0,
        'alpha': loc_loss_weight,
    }


def _caffe(
    neg_pos_ratio: float = 3.0,
    mining_type: str = 'max_negative',
    sample_size: int = 64,
    loc_loss_type: str = 'smooth_l1',
    conf_loss_type: str = 'softmax',
    normalization: str = 'valid',
    loc_weight: float = 1.0,
    share_location: bool = True,
) -> dict[str, Any]:
    if not check_flag('share_location', share_location):
        raise ValueError(
            'share_location = False: Caffe then predicts offsets for each class of a default box, '
            'and mb_locs has one set of offsets for each default box. Expected True'
        )
    minings: dict[str, Callable[[], Any]] = {
        'max_negative': lambda: HardNegative(neg_pos_ratio, 'floor', by='own class'),
        'hard_example': lambda: HardExample(sample_size, with_localization=True),
        'none': AllNegatives,
    }
    localizations = {'smooth_l1': SmoothL1, 'l2': L2}
    confidences = {'softmax': SoftmaxCrossEntropy, 'logistic': SigmoidCrossEntropy}
    normalizers: dict[str, Callable[[], Any]] = {
        'valid': MatchesAfterMining,
        'batch_size': Images,
        'full': Boxes,
        'none': lambda: 1.0,
    }
    return {
        'localization': localizations[
            check_choice('loc_loss_type', loc_loss_type, localizations)
        ](),
        'confidence': confidences[check_choice('conf_loss_type', conf_loss_type, confidences)](),
        'mining': minings[check_choice('mining_type', mining_type, minings)](),
        'normalizer': normalizers[check_choice('normalization', normalization, normalizers)](),
        'alpha': loc_weight,
    }


def _mxnet(negative_mining_ratio: float = 3.0, minimum_negative_samples: int = 0) -> dict[str, Any]:
    # MXNet's operator selects boxes. Its example divides each loss by a count of its own.
    mining = HardNegative(negative_mining_ratio, 'floor', minimum_negative_samples)
    return {'mining': mining, 'reduce': 'sum'}


def _gluoncv(
    negative_mining_ratio: float = 3.0,
    rho: float = 1.0,
    lambd: float = 1.0,
    min_hard_negatives: int = 0,
) -> dict[str, Any]:
    return {
        'localization': SmoothL1(rho),
        'mining': HardNegative(negative_mining_ratio, minimum=min_hard_negatives),
        'normalizer': Positives(minimum=1),
        'alpha': lambd,
    }


def _mmdet(neg_pos_ratio: int = 3, smoothl1_beta: float = 1.0) -> dict[str, Any]:
    check_integer('neg_pos_ratio', neg_pos_ratio)
    return {
        'localization': SmoothL1(smoothl1_beta),
        'mining': HardNegative(neg_pos_ratio),
        'normalizer': PositivesOfImages(),
    }


def _tensorflow(
    classification_loss: str = 'weighted_sigmoid',
    hard_example_miner: None = None,
    normalize_loss_by_num_matches: bool = True,
    localization_weight: float = 1.0,
) -> dict[str, Any]:
    if hard_example_miner is not None:
        raise ValueError(
            'hard_example_miner: the one of TensorFlow suppresses boxes that overlap one of a '
            'larger loss, which no part here does. Expected None, and HardNegative or HardExample '
            'in an objective of your own'
        )
    check_flag('normalize_loss_by_num_matches', normalize_loss_by_num_matches)
    losses = {'weighted_sigmoid': SigmoidCrossEntropy, 'weighted_softmax': SoftmaxCrossEntropy}
    return {
        'confidence': losses[check_choice('classification_loss', classification_loss, losses)](),
        'mining': AllNegatives(),
        'normalizer': Positives(minimum=1) if normalize_loss_by_num_matches else 1.0,
        'alpha': localization_weight,
    }


#: Function for each library. Its arguments are the options that the library has.
PEERS: dict[str, Callable[..., dict[str, Any]]] = {
    'chainercv': _chainercv,
    'paddle': _paddle,
    'caffe': _caffe,
    'ssd.pytorch': _ssd_pytorch,
    'torchvision': _torchvision,
    'mxnet': _mxnet,
    'gluoncv': _gluoncv,
    'mmdet': _mmdet,
    'tensorflow': _tensorflow,
}
