"""Detectors, their training chains, and detectors as folders."""

from chainer_ssd.links.convolution_2d import Convolution2D, convert_convolutions
from chainer_ssd.links.detector import create_detector, load_detector, save_detector
from chainer_ssd.links.multi_node_batch_normalization import MultiNodeBatchNormalization
from chainer_ssd.links.multibox import Multibox
from chainer_ssd.links.multibox_coder import MultiboxCoder
from chainer_ssd.links.multibox_train_chain import MultiboxTrainChain
from chainer_ssd.links.ssd import SSD
from chainer_ssd.links.ssd_loss_chain import GroundTruthConverter, SSDLossChain
from chainer_ssd.links.ssd_mini import SSDMini
from chainer_ssd.links.ssd_mini_boxes import fit_ssd_mini_boxes
from chainer_ssd.links.ssd_vgg16 import SSD300, SSD512
from chainer_ssd.links.weights import load_pretrained, load_weights

__all__ = [
    'SSD',
    'SSD300',
    'SSD512',
    'Convolution2D',
    'GroundTruthConverter',
    'MultiNodeBatchNormalization',
    'Multibox',
    'MultiboxCoder',
    'MultiboxTrainChain',
    'SSDLossChain',
    'SSDMini',
    'convert_convolutions',
    'create_detector',
    'fit_ssd_mini_boxes',
    'load_detector',
    'load_pretrained',
    'load_weights',
    'save_detector',
]
