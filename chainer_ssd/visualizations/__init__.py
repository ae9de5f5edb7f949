"""Pictures: images in, images out, no display."""

from chainer_ssd.visualizations.colors import label_color
from chainer_ssd.visualizations.crop_bbox import crop_bbox
from chainer_ssd.visualizations.draw_bbox import draw_bbox
from chainer_ssd.visualizations.draw_confusion_matrix import draw_confusion_matrix
from chainer_ssd.visualizations.draw_detection import draw_detection
from chainer_ssd.visualizations.draw_match import draw_match
from chainer_ssd.visualizations.draw_precision_recall import draw_precision_recall
from chainer_ssd.visualizations.tile_images import tile_images

__all__ = [
    'crop_bbox',
    'draw_bbox',
    'draw_confusion_matrix',
    'draw_detection',
    'draw_match',
    'draw_precision_recall',
    'label_color',
    'tile_images',
]
