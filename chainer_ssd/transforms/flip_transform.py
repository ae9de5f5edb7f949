"""Mirroring, the cheapest augmentation."""

from chainer_ssd.transforms._plan import ViewTransform


class FlipTransform(ViewTransform):
    """Mirrors an example at random, left to right and top to bottom.

    For :class:`RandomTransformDataset`, alone or as a step of :class:`Augmentation`. Boxes are
    edges, as ChainerCV has them: x becomes W - x. Alone it returns a view of img.

    Parameters
    ----------
    horizontal : float
        Probability that left and right change places.
    vertical : float
        Probability that top and bottom do: 0 where pictures have an up, 0.5 for cells.

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1].
    """

    def __init__(self, horizontal=0.5, vertical=0):
        for name, value in (('horizontal', horizontal), ('vertical', vertical)):
            if not 0 <= value <= 1:
                raise ValueError(f'{name} = {value!r}: expected a probability in [0, 1]')
        self.horizontal, self.vertical = horizontal, vertical

    def look(self, view, random):
        """See :class:`ViewTransform`; two numbers are drawn whatever the probabilities."""
        left_right, top_bottom = random.random(2) < (self.horizontal, self.vertical)
        return view._replace(flip=(view.flip[0] ^ top_bottom, view.flip[1] ^ left_right))
