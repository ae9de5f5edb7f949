"""Draws the picture at the head of the README: what a trained detector finds, side by side.

    python scripts/head_picture.py result docs/detections.jpg path/to/a.jpg path/to/b.jpg

`result` is the folder that examples/train.py wrote. Each image becomes 300 pixels high.
"""

import sys
from pathlib import Path

from chainer_ssd.datasets import read_image
from chainer_ssd.transforms import resize_image
from chainer_ssd.visualizations import draw_bbox, tile_images, write_image

sys.path.append(str(Path(__file__).resolve().parents[1] / 'examples'))

from chainer_ssd.links.detector import load_detector  # noqa: E402

HEIGHT, SCORE = 300, 0.5


def main(result, out, *files):
    model, label_names = load_detector(result)
    model.score_thresh = SCORE
    pictures = []
    for file in files:
        img = read_image(file)
        (bbox,), (label,), (score,) = model.predict([img])
        zoom = HEIGHT / img.shape[1]
        img = resize_image(img, (HEIGHT, round(img.shape[2] * zoom)))
        pictures.append(draw_bbox(img, bbox * zoom, label, score, label_names))
    write_image(tile_images(pictures), out)


if __name__ == '__main__':
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
