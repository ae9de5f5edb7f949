"""Data sets in the layout of Pascal VOC."""

import os

import numpy as np

from chainer_ssd.datasets._bbox_dataset import BboxDataset
from chainer_ssd.datasets._box_checks import is_valid, warn_of_dropped, warn_of_suspects
from chainer_ssd.datasets._voc_annotation import CORNERS, parse_annotation, to_number
from chainer_ssd.datasets._voc_list import read_list

VOC_LABEL_NAMES = (
    'aeroplane',
    'bicycle',
    'bird',
    'boat',
    'bottle',
    'bus',
    'car',
    'cat',
    'chair',
    'cow',
    'diningtable',
    'dog',
    'horse',
    'motorbike',
    'person',
    'pottedplant',
    'sheep',
    'sofa',
    'train',
    'tvmonitor',
)

_SUFFIXES = ('.jpg', '.jpeg', '.png', '.JPG', '.JPEG', '.PNG')


class VOCBboxDataset(BboxDataset):
    """Images and boxes of a folder in Pascal VOC's layout.

    Item i is ``(img, bbox, label)``, or ``(img, bbox, label, difficult)``:

    ``img``: float32 or uint8 (3, H, W), RGB, 0..255;
    ``bbox``: float32 (R, 4), (y_min, x_min, y_max, x_max), pixels, 0-based: the file's minus 1;
    ``label``: int32 (R,), positions in ``label_names``;
    ``difficult``: bool (R,).

    An image without objects has R = 0. All annotations are read and checked here, and the
    images looked for; an image is opened when it is asked for.

    Parameters
    ----------
    root : str or path
        The folder that holds Annotations/, ImageSets/Main/ and JPEGImages/ (.jpg, .jpeg, .png).
    split : str
        The list to read: ImageSets/Main/<split>.txt, one name a line.
    label_names : sequence of str, optional
        The classes, in order. Without it: the 20 of VOC if every name found is among them, else
        the names found in this split, sorted; hand the training set's on to the other splits.
    return_difficult : bool
        True: all objects, with the flag. False: without those flagged difficult, which nobody
        could tell from the others (ChainerCV's defaults leave them out as well).
    on_invalid : {'drop', 'raise'}
        What happens to a box that is inverted, without area, not finite or not a number.
        'drop': it is left out; one warning gives the number and the files.
    dtype : dtype
        Of the images: float32, or uint8, read-only: a quarter of the memory, sooner augmented.

    Attributes
    ----------
    ids : list of str
        Names of the images, as the split lists them.
    label_names : tuple of str
        The classes.

    Raises
    ------
    FileNotFoundError
        If a list, annotation or image is missing; where it is the list, those that are there are
        named, and where it is all of them, folders nearby that hold some.
    ValueError
        If an annotation is malformed, hostile (entities) or not VOC's; if a name is not in
        ``label_names``; if a box is invalid and ``on_invalid`` is 'raise'; if the list is
        empty; if ``dtype`` is another. On access: if an image is broken, truncated, or deeper
        than 8 bits. The message names the file.
    ImportError
        If defusedxml or Pillow is missing (``pip install "chainer_ssd[data]"``).

    Warns
    -----
    UserWarning
        Once per data set, naming the first file: boxes that reach outside their image, that
        look like shares in [0, 1], or like (x, y) where (y, x) is due; an image whose size is
        not the one in its annotation.

    Notes
    -----
    Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge" (2010).
    """

    def __init__(
        self,
        root,
        split,
        label_names=None,
        return_difficult=False,
        on_invalid='drop',
        dtype=np.float32,
    ):
        if on_invalid not in ('drop', 'raise'):
            raise ValueError(f"on_invalid = {on_invalid!r}: expected 'drop' or 'raise'")
        root = os.fspath(root)
        self.return_difficult = return_difficult
        self.ids = read_list(root, split)
        files = [os.path.join(root, 'Annotations', f'{name}.xml') for name in self.ids]
        annotations = [parse_annotation(file) for file in files]
        image_files = [_find_image(os.path.join(root, 'JPEGImages', name)) for name in self.ids]
        sizes = [annotation.size for annotation in annotations]

        # The objects of all images stand in one row; owner says whose each is.
        owner = np.repeat(np.arange(len(files)), [len(a.names) for a in annotations])
        names = [name for a in annotations for name in a.names]
        corners = [texts for a in annotations for texts in a.corners]
        difficult = np.array([flag for a in annotations for flag in a.difficults], dtype=bool)
        self.label_names = _choose_label_names(label_names, set(names))
        label = _to_label(names, self.label_names, owner, files)
        bbox = _to_bbox(corners)
        valid = is_valid(bbox)
        if not valid.all():
            _report_invalid(np.flatnonzero(~valid), owner, files, names, corners, on_invalid)
        size = np.array([size or (np.nan, np.nan) for size in sizes])
        warn_of_suspects(bbox[valid], size[owner[valid]], owner[valid], files)

        kept = valid if return_difficult else valid & ~difficult
        columns = bbox[kept], label[kept], difficult[kept]
        self._hold(
            image_files, sizes, owner[kept], columns if return_difficult else columns[:2], dtype
        )


def _find_image(stem):
    for suffix in _SUFFIXES:
        if os.path.isfile(stem + suffix):
            return stem + suffix
    raise FileNotFoundError(f'{stem}: no image with one of the suffixes {_SUFFIXES}')


def _choose_label_names(label_names, found):
    if label_names is None:
        return VOC_LABEL_NAMES if found <= set(VOC_LABEL_NAMES) else tuple(sorted(found))
    if isinstance(label_names, str) or not all(isinstance(name, str) for name in label_names):
        raise TypeError(f'label_names = {label_names!r}: expected a sequence of str')
    if len(set(label_names)) < len(label_names):
        raise ValueError(f'label_names = {label_names!r}: expected each name once')
    return tuple(label_names)


def _to_label(names, label_names, owner, files):
    position = {name: i for i, name in enumerate(label_names)}
    for name, image in zip(names, owner):
        if name not in position:
            raise ValueError(
                f'{files[image]}: the name {name!r} is not among label_names = {label_names}'
            )
    return np.array([position[name] for name in names], dtype=np.int32)


def _to_bbox(corners):
    values = [[to_number(text) for text in texts] for texts in corners]
    with np.errstate(over='ignore'):  # past float32 it is inf, and so invalid
        return (np.array(values).reshape(-1, 4) - 1).astype(np.float32)


def _report_invalid(rows, owner, files, names, corners, on_invalid):
    if on_invalid == 'raise':
        row = rows[0]
        which = row - np.searchsorted(owner, owner[row])
        raise ValueError(
            f'{files[owner[row]]}, object {which} ({names[row]!r}): {CORNERS} = {corners[row]}, '
            'expected finite numbers with ymin < ymax and xmin < xmax'
        )
    warn_of_dropped(rows, owner, files)
