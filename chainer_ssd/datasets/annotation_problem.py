"""What is wrong with one object of an annotation file."""

from __future__ import annotations

from typing import NamedTuple

from chainer_ssd.datasets._messages import shorten


class AnnotationProblem(NamedTuple):
    """An object that a data set leaves out, or that a file states wrongly.

    Attributes
    ----------
    file : str
        The annotation file.
    image : str
        The image file, or the image's name where the file is not known.
    row : int or None
        Position of the object: in VOC among the <object> elements, in COCO in ``annotations``.
        None if the object does not stand in an <object>.
    kind : str
        ``'unreadable_box'``: there is no box, or its numbers cannot be read. ``'inverted_box'``,
        ``'no_area'`` and ``'not_finite'``: a box with these numbers is invalid. ``'repeated'``: the
        same annotation of COCO stands twice. ``'no_name'`` and ``'bad_difficult'``: the data set
        raises an error instead of leaving the object out.
    reason : str
        What was found and what was expected, in one line.
    """

    file: str
    image: str
    row: int | None
    kind: str
    reason: str

    def describe(self) -> str:
        """Return the file, the object, the image and the reason in one line.

        Returns
        -------
        str
            ``<file>, object <row> of <image>: <reason>``.
        """
        where = 'outside any <object>' if self.row is None else f'object {self.row}'
        if self.image and self.row is not None:
            where += f' of {shorten(self.image, 300)}'
        return f'{shorten(self.file, 300)}, {where}: {self.reason}'
