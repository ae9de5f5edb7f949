"""Networks, and what trains them."""
from chainer_ssd.links.multibox_coder import MultiboxCoder
from chainer_ssd.links.multibox_train_chain import MultiboxTrainChain
from chainer_ssd.links.ssd_mini import SSDMini

__all__ = ['MultiboxCoder', 'MultiboxTrainChain', 'SSDMini']
