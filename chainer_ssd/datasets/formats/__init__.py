"""What each format looks like on the disk, for :func:`chainer_ssd.datasets.find_dataset`."""
