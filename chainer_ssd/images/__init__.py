"""Image and video files, scaling and text: the only room that imports OpenCV and Pillow."""

from chainer_ssd.images.pixels import to_image, to_pixels
from chainer_ssd.images.read_image import read_image
from chainer_ssd.images.resize_image import resize_image
from chainer_ssd.images.video import Video, VideoWriter
from chainer_ssd.images.write_image import image_format_of, write_image

__all__ = [
    'Video',
    'VideoWriter',
    'image_format_of',
    'read_image',
    'resize_image',
    'to_image',
    'to_pixels',
    'write_image',
]
