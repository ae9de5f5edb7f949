"""Draw the picture of the README: the detections in several images, side by side.

    python scripts/head_picture.py result docs/detections.jpg path/to/a.jpg path/to/b.jpg

`result` is the folder that `chainer-ssd train` wrote. Each image becomes 300 pixels high.
"""

import sys

from chainer_ssd import draw_bbox, load_detector, read_image, write_image
from chainer_ssd.images import resize_image
from chainer_ssd.visualizations import tile_images

HEIGHT, SCORE_THRESH = 300, 0.5


def main(result, out, *files):
    """Write the picture."""
    model = load_detector(result)
    model.score_thresh = SCORE_THRESH
    pictures = []
    for file in files:
        img = read_image(file)
        (bbox,), (label,), (score,) = model.predict([img])
        zoom = HEIGHT / img.shape[1]
        img = resize_image(img, (HEIGHT, round(img.shape[2] * zoom)))
        pictures.append(draw_bbox(img, bbox * zoom, label, score, model.label_names))
    write_image(tile_images(pictures), out)


if __name__ == '__main__':
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
