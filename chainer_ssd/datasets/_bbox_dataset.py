"""What the data sets that read files have in common once their annotations are read."""

import warnings

import chainer
import numpy as np

from chainer_ssd.images import read_image


class BboxDataset(chainer.dataset.DatasetMixin):
    """Images that are opened when asked for, and the boxes of all of them in one row.

    Item i is ``(img, bbox, label)``, or ``(img, bbox, label, flag)``; the subclass says what the
    flag means, and calls :meth:`_hold`.
    """

    def _hold(self, image_files, sizes, owner, columns, dtype):
        """Takes what was read, and the dtype of the images.

        ``image_files[i]`` and ``sizes[i]``, (H, W) or None, are of image i; ``columns`` (bbox,
        label and perhaps the flag) have a row for each object, whose image is ``owner``, rising.
        """
        self._image_files, self._sizes, self._columns = image_files, sizes, columns
        self._start = np.searchsorted(owner, np.arange(len(image_files) + 1))
        self._dtype = _image_dtype(dtype)
        self._size_warned = False

    def __len__(self):
        return len(self._image_files)

    def get_annotation(self, i):
        """Item ``i`` without its image, which is not opened.

        Parameters
        ----------
        i : int
            Which item.

        Returns
        -------
        tuple
            ``(bbox, label)``, or ``(bbox, label, flag)``: copies, free to be changed.
        """
        i = range(len(self))[i]
        rows = slice(self._start[i], self._start[i + 1])
        return tuple(column[rows].copy() for column in self._columns)

    def get_example(self, i):
        """Item ``i``; see the class.

        Parameters
        ----------
        i : int
            Which item.

        Returns
        -------
        tuple
            ``(img, bbox, label)``, or ``(img, bbox, label, flag)``.

        Raises
        ------
        ValueError
            If the image cannot be read to its end.
        """
        size = self._sizes[i]
        img = read_image(self._image_files[i], size, self._dtype)
        if size not in (None, img.shape[1:]) and not self._size_warned:
            self._size_warned = True
            warnings.warn(
                f'{self._image_files[i]}: (H, W) is {img.shape[1:]}, {size} in its annotation; '
                'the boxes may belong to another picture',
                stacklevel=3,
            )
        return (img, *self.get_annotation(i))


def _image_dtype(dtype):
    if np.dtype(dtype) not in (np.float32, np.uint8):
        raise ValueError(f'dtype = {dtype!r}: expected float32 or uint8')
    return np.dtype(dtype)
