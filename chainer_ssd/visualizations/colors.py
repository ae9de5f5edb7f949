"""One colour for each class, the same in every picture."""

from __future__ import annotations

import numpy as np

# The first seven are Okabe and Ito's (2008), "Color Universal Design". Each later colour has the
# largest CIELAB distance to all colours before it. The distance is the smallest of those with
# normal vision, protanopia and deuteranopia.
_COLORS = (
    '0072b2 e69f00 009e73 d55e00 56b4e9 cc79a7 f0e442 6432fa affaaf 7dfafa 4b7dfa e1af64 '
    'e1afaf 964b7d af0096 7dc8e1 fa647d 9619c8 7d96fa fae17d 96fae1 c81900 fa19c8 4b64fa '
    '969632 e1c84b c89664 96fac8 0096c8 c8c896 e196c8 af3264 9619e1 e1c800 4be1c8 009696 '
    '196496 c8fa00 c89696 64affa fa7d4b af4be1 96e1fa fae164 96647d 96c8fa c8af96 64e1e1 '
    'fa3296 e196af fac87d 96fa96 fa6432 e1c8af c832af 197daf 4b96e1 e1af7d e1c864 00c84b '
    '007de1 64af7d c800c8 fa9632 fa6400 007dc8 967daf fa3232 32967d c80096 fa64e1 4b4be1 '
    'e1c8e1 7dc87d 96e17d afe196 faaf32 c84b00 7dc864 96afaf 644bfa fa964b 96afc8 9696af '
    'e1c8c8 e1e14b 7d7d64 4b647d 96fa64 c86496 c8e1af af96c8 4b9600 fae196 fa644b 7de14b '
)
_PALETTE: list[tuple] = [tuple(bytes.fromhex(color)) for color in _COLORS.split()]

Color = tuple[int, int, int]  # (R, G, B), 0 to 255
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
#: Marks errors. No class has this colour or a similar one.
RED = (200, 0, 60)


def label_color(label: int) -> Color:
    """Return the colour of a class, the same in every picture.

    Parameters
    ----------
    label : int
        0 or more. The first 96 colours differ, then they repeat.

    Returns
    -------
    tuple of int
        (R, G, B), 0 to 255. The first seven are those of Okabe and Ito, which people with colour
        blindness can tell apart.

    Raises
    ------
    ValueError
        If the label is negative.
    """
    if label < 0:
        raise ValueError(f'label = {label}: expected 0 or more')
    return _PALETTE[int(label) % len(_PALETTE)]


def contrast_color(color: Color) -> Color:
    """Return black or white, whichever has the larger contrast with ``color``."""
    # Relative luminance (WCAG 2.1). Its contrasts with black and with white are equal at 0.179.
    value = np.array(color) / 255
    linear = np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    return BLACK if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else WHITE
