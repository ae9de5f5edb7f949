"""Detection in the frames of a video, a camera or a stream, and its end by a signal."""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chainer_ssd.cli._input_files import MAX_BATCH_PIXELS, batch_images, printable_path
from chainer_ssd.cli._predictions import Detection, Predictions
from chainer_ssd.cli._saved_results import Place
from chainer_ssd.cli._timed_detector import TimedDetector
from chainer_ssd.images import VideoReader, VideoWriter, is_address, video_source_name

# A video is reported as incomplete below this fraction of its announced number of frames, which
# is an estimate in some formats.
MIN_FRAME_FRACTION = 0.9


@contextlib.contextmanager
def noting_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C or SIGTERM came. A second one ends at once."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # SIGINT is ignored under nohup
            signal.signal(number, note)
    try:
        yield lambda: bool(received)
    finally:
        restore()


def predict_video(
    source: str | int,
    detector: TimedDetector,
    batchsize: int,
    predictions: Predictions,
    max_frames: int | None = None,
    is_ended: Callable[[], bool] = lambda: False,
) -> None:
    """Detect objects in the frames of a video, a camera or a stream."""
    name = video_source_name(source)
    try:
        video = VideoReader(source)
    except ValueError as error:
        predictions.fail(name, str(error))
        return
    if video.is_live:
        print(f'{printable_path(name)}: {video.fps:g} frames/s. Ctrl-C ends it', flush=True)
    stem = predictions.create_stem(name_results(source))
    frames: list[list[Detection]] = []
    failure: Exception | None = None
    with VideoWriter(predictions.create_path(stem, '.mp4'), video.fps) as writer:
        images = ((name, img) for img in take_frames(video, max_frames, is_ended))
        try:
            for batch in batch_images(images, batchsize, MAX_BATCH_PIXELS):
                imgs = [img for _, img in batch]
                for img, found in zip(imgs, detector(imgs)):
                    drawn = detector.draw(img, found)
                    if not frames:
                        predictions.add_video(name, writer.path, drawn, video.fps, frames)
                    place = Place(name, stem, len(frames), '.jpg')
                    frames.append(detector.describe(found))
                    writer.write(drawn)
                    predictions.save_further(place, img, found)
        except (MemoryError, ValueError) as error:
            failure = error
        finally:
            video.close()
    if failure is not None:
        cause = 'not enough memory' if isinstance(failure, MemoryError) else failure
        predictions.fail(name, f'{name}: frame {len(frames)}: {cause}')
    if not frames:
        if failure is None:
            why = 'ended before its first frame' if is_ended() else 'no frame can be read'
            predictions.fail(name, f'{name}: {why}')
        return
    is_whole = video.is_live or len(frames) >= MIN_FRAME_FRACTION * video.n_frame
    if failure is None and not is_whole:
        predictions.fail(name, f'{name}: broke off after {len(frames)} of {video.n_frame} frames')
    if writer.error:
        predictions.fail(name, f'{name}: {writer.error}')
        predictions.videos[-1]['video'] = None
    predictions.report(
        f'{name}, {len(frames)} frames',
        predictions.videos[-1]['video'],
        itertools.chain.from_iterable(frames),
    )


def take_frames(
    video: Iterable[Any], max_frames: int | None, is_ended: Callable[[], bool]
) -> Iterator[Any]:
    """Yield the frames up to a number of them, or to a signal."""
    for img in itertools.islice(video, max_frames):
        if is_ended():
            return
        yield img


def name_results(source: str | int) -> str:
    """Return what the results of a video, a camera or a stream are named after."""
    if isinstance(source, int):
        return f'camera_{source}'
    return 'stream' if is_address(source) else source
