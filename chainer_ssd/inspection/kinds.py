"""What an inspection can find: each kind with its level, its meaning and what to do."""

from __future__ import annotations

from typing import NamedTuple

ERROR, WARNING, NOTE = 'error', 'warning', 'note'


class Kind(NamedTuple):
    """One kind of finding.

    Attributes
    ----------
    level : str
        ``'error'``: it stops or spoils a training. ``'warning'``: look at it. ``'note'``: for
        information.
    meaning : str
        What it is.
    advice : str
        What to do.
    """

    level: str
    meaning: str
    advice: str


#: All kinds of findings by name.
KINDS: dict[str, Kind] = {
    'missing image': Kind(ERROR, 'a listed image has no file', 'Add the file or delete the line.'),
    'several images': Kind(ERROR, 'an image has files with two suffixes', 'Delete one of them.'),
    'unreadable image': Kind(
        ERROR, 'an image is damaged, truncated or not supported', 'Replace it, or convert it.'
    ),
    'missing annotation': Kind(
        ERROR, 'a listed image has no annotation', 'Add one. Without objects it holds no <object>.'
    ),
    'unreadable annotation': Kind(ERROR, 'an annotation is no XML of VOC', 'Export it again.'),
    'unreadable box': Kind(
        ERROR, 'an object has no box that can be read', 'Export horizontal boxes as <bndbox>.'
    ),
    'object without name': Kind(ERROR, 'an object has no <name>', 'Add the name.'),
    'unreadable flag': Kind(ERROR, 'a <difficult> is neither 0 nor 1', 'Write 0 or 1.'),
    'unknown class': Kind(
        ERROR, 'a class of the test split or of no given name', 'Mend the name, or add the class.'
    ),
    'image in both splits': Kind(
        ERROR, 'an image of the training is in the test split', 'Delete it from one list.'
    ),
    'no object': Kind(ERROR, 'no training image has an object that counts', 'Add objects.'),
    'inverted box': Kind(WARNING, 'a minimum is above a maximum. It is left out', 'Mend the box.'),
    'box without area': Kind(
        WARNING, 'a box has height or width 0. It is left out', 'Mend the box or delete it.'
    ),
    'box not finite': Kind(
        WARNING, 'a number is NaN or too large. It is left out', 'Mend the box.'
    ),
    'box outside': Kind(WARNING, 'a box reaches outside its image', 'Clip it, or mend the size.'),
    'swapped axes': Kind(
        WARNING, 'a box fits its image only with x and y exchanged', 'Exchange x and y.'
    ),
    'box in fractions': Kind(
        WARNING, 'a box looks like fractions of the image', 'Multiply by width and height.'
    ),
    'repeated box': Kind(
        WARNING, 'a box stands twice with one class in one image', 'Delete one of them.'
    ),
    'wrong size': Kind(
        WARNING,
        'an image has another size than its annotation',
        'Check that the boxes belong to it.',
    ),
    'unclear rotation': Kind(
        WARNING, 'EXIF turns an image, and nothing shows whether its boxes too', 'Remove the EXIF.'
    ),
    'repeated image': Kind(WARNING, 'two images of one split are equal', 'Delete one of them.'),
    'listed twice': Kind(WARNING, 'an image stands twice in a list', 'Delete one line.'),
    'similar names': Kind(
        WARNING, 'two class names differ only by case or space', 'Use one spelling.'
    ),
    'class without objects': Kind(WARNING, 'a class has no training object', 'Add objects.'),
    'class without test': Kind(NOTE, 'a class has no test object, so it has no AP', 'Add objects.'),
    'image without labels': Kind(
        WARNING, 'an image has no label file of YOLO', 'Nothing, if it has no object.'
    ),
    'crowded image': Kind(
        WARNING, 'an image has more objects than default boxes', 'Cut it, or raise --insize.'
    ),
    'image without objects': Kind(NOTE, 'an image is all background', 'Nothing, if that is true.'),
}
