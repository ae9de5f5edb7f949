"""What all parts of an objective share."""

from __future__ import annotations

from chainer_ssd._options import short_repr


class Part:
    """A part that shows its options."""

    def __repr__(self) -> str:
        options = [
            f'{name}={short_repr(value)}'
            for name, value in vars(self).items()
            if not name.startswith('_')
        ]
        return f'{type(self).__name__}({", ".join(options)})'
