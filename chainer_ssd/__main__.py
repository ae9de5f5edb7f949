"""``python -m chainer_ssd`` is the command ``chainer-ssd``."""

from chainer_ssd.cli import main

if __name__ == '__main__':
    main()
