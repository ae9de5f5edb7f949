"""scripts/head_picture.py."""

from chainer_ssd import SSDMini, read_image, save_detector


def test_images_stand_side_by_side(load_script, voc_root, tmp_path):
    save_detector(tmp_path, SSDMini(2, insize=32), ['blue', 'red'])
    files = [voc_root / 'JPEGImages' / f'{i}.jpg' for i in range(2)]
    load_script('head_picture').main(tmp_path, tmp_path / 'head.png', *files)
    height, width = read_image(tmp_path / 'head.png').shape[1:]
    assert height >= 300 and width >= 2 * 400  # the images are 48 x 64
