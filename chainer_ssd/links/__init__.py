"""Networks, and what trains them."""
from chainer_ssd.links.multibox_coder import MultiboxCoder
from chainer_ssd.links.multibox_train_chain import MultiboxTrainChain
from chainer_ssd.links.ssd_mini import SSDMini
from chainer_ssd.links.ssd_vgg16 import SSD300, SSD512

__all__ = ['MultiboxCoder', 'MultiboxTrainChain', 'SSD300', 'SSD512', 'SSDMini']
