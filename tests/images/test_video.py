import numpy as np
import pytest

from chainer_ssd.images import VideoReader, VideoWriter, is_address, video_source_name


def frames(n=4, size=(32, 48)):
    """Return frames of one colour each, uint8 (3, H, W)."""
    return [
        np.broadcast_to(np.array([40 * i, 100, 200], np.uint8).reshape(3, 1, 1), (3, *size)).copy()
        for i in range(n)
    ]


def test_written_frames_are_read(tmp_path):
    path = str(tmp_path / 'a.mp4')
    with VideoWriter(path, 8) as writer:
        for img in frames():
            writer.write(img)
    assert writer.error is None
    reader = VideoReader(path)
    assert (reader.fps, reader.n_frame) == (8, 4)
    found = list(reader)
    assert len(found) == 4
    for img, expected in zip(found, frames()):
        assert img.shape == (3, 32, 48) and img.dtype == np.float32
        assert np.abs(img - expected).mean() < 10


def test_odd_sizes_lose_a_row_or_column(tmp_path):
    path = str(tmp_path / 'a.mp4')
    with VideoWriter(path, 8) as writer:
        writer.write(frames(1, (33, 49))[0])
    assert next(iter(VideoReader(path))).shape == (3, 32, 48)


def test_without_frames_there_is_no_file(tmp_path):
    with VideoWriter(str(tmp_path / 'a.mp4'), 8) as writer:
        pass
    assert writer.error is None and not list(tmp_path.iterdir())


def test_writer_keeps_its_error(tmp_path):
    path = str(tmp_path / 'none' / 'a.mp4')
    with VideoWriter(path, 8) as writer:
        for img in frames(2):
            writer.write(img)
    assert writer.error == f'{path}: OpenCV cannot write an .mp4 of (48, 32) pixels'


def test_incomplete_file_is_removed(tmp_path, monkeypatch):
    path = tmp_path / 'a.mp4'
    monkeypatch.setattr(VideoWriter, '_is_complete', lambda self: False)
    with VideoWriter(str(path), 8) as writer:
        writer.write(frames(1)[0])
    assert 'could not write all of it' in writer.error
    assert not path.exists()


def test_reader_names_the_file(tmp_path):
    with pytest.raises(ValueError, match='none.mp4: no such file'):
        VideoReader(str(tmp_path / 'none.mp4'))
    (tmp_path / 'text.mp4').write_text('text')
    with pytest.raises(ValueError, match='text.mp4: cannot be read as a video'):
        VideoReader(str(tmp_path / 'text.mp4'))


@pytest.mark.parametrize(
    ('source', 'name', 'is_stream'),
    [
        (0, 'camera 0', True),
        ('a/b.mp4', 'a/b.mp4', False),
        ('a@b:c/d?e.mp4', 'a@b:c/d?e.mp4', False),
        ('rtsp://host', 'rtsp://host', True),
        ('RTSP://me:word@host:554/live?token=1#x', 'RTSP://host:554/live', True),
        ('http://me:a@b@host/x@y', 'http://host/x@y', True),
        ('http://host?token=1', 'http://host', True),
    ],
)
def test_names_of_sources(source, name, is_stream):
    assert video_source_name(source) == name
    assert isinstance(source, int) or is_address(source) == is_stream


def test_a_camera_has_a_number():
    for source, error in ((-1, ValueError), (1.5, TypeError), (None, TypeError), (True, TypeError)):
        with pytest.raises(error, match='source'):
            VideoReader(source)


def test_a_stream_that_cannot_be_opened_is_named_without_its_password():
    with pytest.raises(ValueError, match='^http://127.0.0.1:9/live: cannot be opened$'):
        VideoReader('http://me:word@127.0.0.1:9/live?token=1')


def test_a_closed_video_has_no_frames(tmp_path):
    path = tmp_path / 'a.mp4'
    with VideoWriter(str(path), 8) as writer:
        writer.write(frames(1)[0])
    reader = VideoReader(path)
    assert not reader.is_live and reader.name == str(path)
    reader.close()
    assert list(reader) == []
