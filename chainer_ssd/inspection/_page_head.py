"""What all pages of this room share: the head with its style, and escaping."""

from __future__ import annotations

import html

from chainer_ssd.visualizations import label_color

# No request leaves the page, whatever a name in it holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

_STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #666; --line: #e4e4e4; --paper: #fff;
  --panel: #eee; --bar: #4a7ab5; --cell: 74 122 181; }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e2e2; --soft: #a2a2a2; --line: #3a3a3a;
  --paper: #1b1b1b; --panel: #2a2a2a; --bar: #6d9bd3; --cell: 60 105 165; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 0 auto; max-width: 62rem; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; }
p { margin: .3rem 0; } .path, .soft { color: var(--soft); overflow-wrap: anywhere; }
.verdict { font-weight: 600; padding: .5rem .8rem; border-radius: .4rem; display: inline-block; }
.fit { background: #e2f3e5; color: #14532d; } .unfit { background: #fde4e4; color: #7f1d1d; }
.level { font-size: .75rem; font-weight: 600; padding: .1rem .5rem; border-radius: .6rem;
  white-space: nowrap; }
.error { background: #fde4e4; color: #7f1d1d; } .warning { background: #fdf0d5; color: #713f12; }
.note { background: #e6edf7; color: #1e3a5f; }
table { border-collapse: collapse; width: 100%; } .scroll { overflow-x: auto; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; vertical-align: top; font-size: .9rem;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--soft); font-weight: 600; overflow-wrap: normal; }
td.number, th.number { text-align: right; white-space: nowrap; }
figure { margin: 0; } figcaption { font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; }
.pictures { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
.pictures img { width: 100%; height: auto; border-radius: .3rem; background: var(--panel); }
svg { width: 100%; height: auto; max-width: 40rem; } svg text { fill: currentColor; }
"""


def page_head(title: str, style: str = '') -> str:
    """Return the beginning of a page up to its body.

    Parameters
    ----------
    title : str
        Escaped already.
    style : str
        Rules after those of all pages.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title><style>{_STYLE}{style}</style></head><body>'
    )


def escape(text: str) -> str:
    """Return a text that can stand in an element and in an attribute."""
    return html.escape(text, quote=True)


def css_color(label: int) -> str:
    """Return the colour of a class, as in every picture."""
    return '#' + bytes(label_color(label)).hex()
