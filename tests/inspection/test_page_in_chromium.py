"""The pages in a real browser: no request, no error, and something to see."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from chainer_ssd import SSDMini
from chainer_ssd.inspection import inspect_detector, write_detector_html, write_html
from tests.inspection.detected_images import COLOR, NAMES, make_images
from tests.inspection.test_detector_page import HOSTILE, LOG
from tests.inspection.test_inspect_voc import DataSet

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Debian's package chromium is not installed"
)


@pytest.fixture
def browse(tmp_path):
    """``browse(page)``: requests, console messages and pixels of a page."""

    def browse(text, dark=False, size=(1000, 1400)):
        page, log, picture = (tmp_path / name for name in ('page.html', 'net.json', 'page.png'))
        page.write_text(text, encoding='utf-8')
        done = subprocess.run(
            [
                CHROMIUM,
                '--headless=new',
                '--no-sandbox',
                '--disable-gpu',
                '--disable-background-networking',
                '--disable-component-update',
                '--disable-sync',
                '--no-first-run',
                '--hide-scrollbars',
                '--enable-logging=stderr',
                f'--user-data-dir={tmp_path / "profile"}',
                f'--window-size={size[0]},{size[1]}',
                f'--log-net-log={log}',
                f'--screenshot={picture}',
                *(['--force-dark-mode'] if dark else []),
                page.as_uri(),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        events = json.loads(log.read_text())['events']
        urls = {each.get('params', {}).get('url', '') for each in events}
        requests = {url for url in urls if url.startswith(('http', 'ws')) and is_of_page(url)}
        messages = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
        with Image.open(picture) as image:
            pixels = np.array(image.convert('RGB'))
        return requests, messages, pixels

    return browse


def is_of_page(url):
    """Whether it is a request of the page. Chromium's own go to its makers."""
    return not any(host in url for host in ('google', 'gstatic', 'chromium.org', 'chrome'))


def report_page(**options):
    report = inspect_detector(make_images(**options), NAMES)
    return write_detector_html(report, SSDMini(2, 64), title='result', log=LOG)


@pytest.mark.parametrize('dark', [False, True])
@pytest.mark.parametrize('size', [(1000, 2600), (500, 3600)])
def test_the_report_loads_nothing_and_shows_its_images(browse, dark, size):
    requests, messages, pixels = browse(report_page(), dark, size)
    assert requests == set() and messages == []
    corner = pixels[3, 3].mean()
    assert corner < 60 if dark else corner == 255
    near = np.abs(pixels.astype(int) - COLOR).max(axis=2) < 12
    assert near.sum() > 5000  # objects in the thumbnails


def test_an_opened_case_shows_three_pictures(browse):
    closed = browse(report_page())[2]
    text = report_page().replace('<details class="case">', '<details class="case" open>')
    requests, messages, opened = browse(text, size=(1000, 6000))
    assert requests == set() and messages == []
    near = [np.abs(p.astype(int) - COLOR).max(axis=2) < 12 for p in (closed, opened)]
    assert near[1].sum() > 2 * near[0].sum()


def test_hostile_names_run_nothing(browse):
    text = report_page(name=HOSTILE, file='{}' + HOSTILE)
    requests, messages, _ = browse(text)
    assert requests == set() and messages == []


def test_the_page_of_a_data_set(browse, tmp_path):
    requests, messages, pixels = browse(write_html(DataSet(tmp_path / 'voc').inspect()), dark=True)
    assert requests == set() and messages == [] and pixels[3, 3].mean() < 60


def test_the_checks_can_fail(browse):
    page = '<!doctype html><img src="http://127.0.0.1:9/a.png"><script>no_such_name()</script>'
    requests, messages, _ = browse(page)
    assert requests == {'http://127.0.0.1:9/a.png'}
    assert any('no_such_name' in message for message in messages)
    # The policy of the pages stops both, and the console says so.
    policy = report_page().split('<meta name="viewport"')[0]
    requests, messages, _ = browse(policy + '</head><body>' + page)
    assert requests == set() and len(messages) >= 2
