"""The README's Python, run as a reader would: from the first block to the last."""
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / 'README.md'


def blocks():
    return re.findall(r'^```python\n(.*?)^```', README.read_text(encoding='utf-8'), re.S | re.M)


def test_python_blocks_run(tmp_path):
    assert len(blocks()) >= 4
    script = tmp_path / 'readme.py'
    script.write_text('\n'.join(blocks()), encoding='utf-8')
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, text=True, timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
