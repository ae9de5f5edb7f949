"""Image and video files, resizing, colours and text: the only room that imports OpenCV, Pillow."""

from chainer_ssd.images.color import (
    add_brightness,
    change_hue_and_saturation,
    multiply_contrast,
)
from chainer_ssd.images.hash_pixels import hash_pixels
from chainer_ssd.images.image_file import IMAGE_SUFFIXES
from chainer_ssd.images.image_header import ImageHeader, read_header
from chainer_ssd.images.opencv_threads import set_opencv_threads
from chainer_ssd.images.pixels import (
    merge_planes,
    round_to_uint8,
    split_planes,
    to_image,
    to_pixels,
)
from chainer_ssd.images.printable_name import printable_name
from chainer_ssd.images.read_image import read_image
from chainer_ssd.images.resize_image import resize_image, resize_pixels
from chainer_ssd.images.text import has_glyphs
from chainer_ssd.images.video import VideoReader, VideoWriter, is_address, video_source_name
from chainer_ssd.images.write_image import encode_jpeg, image_format_of, write_image

__all__ = [
    'IMAGE_SUFFIXES',
    'ImageHeader',
    'VideoReader',
    'VideoWriter',
    'add_brightness',
    'change_hue_and_saturation',
    'encode_jpeg',
    'has_glyphs',
    'hash_pixels',
    'image_format_of',
    'is_address',
    'merge_planes',
    'multiply_contrast',
    'printable_name',
    'read_header',
    'read_image',
    'resize_image',
    'resize_pixels',
    'round_to_uint8',
    'set_opencv_threads',
    'split_planes',
    'to_image',
    'to_pixels',
    'video_source_name',
    'write_image',
]
