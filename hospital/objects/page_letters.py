"""Choose fonts for the letters of a page: DejaVu's own, and fonts of the viewer for Chinese, Japanese and Korean."""

import re
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"  # matplotlib brings them along
# The fonts that PDF knows by name: they are the viewer's, and not part of the file.
CHINESE, JAPANESE, KOREAN = "STSong-Light", "HeiseiKakuGo-W5", "HYSMyeongJo-Medium"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HAN = "\u2e80-\u303f\u3100-\u312f\u3190-\u31ef\u3200-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uff65\uffa0-\uffef"
_EAST_ASIAN = re.compile(f"[{_HANGUL}{_KANA}{_HAN}]+")


@cache
def register_fonts() -> None:
    """Make the fonts known to reportlab."""
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, folder / f"{name}.ttf"))
    for name in (CHINESE, JAPANESE, KOREAN):
        pdfmetrics.registerFont(UnicodeCIDFont(name))


def has_east_asian(text: str) -> bool:
    """Return whether a text has Chinese, Japanese or Korean letters; its lines may break between any two of them."""
    return _EAST_ASIAN.search(text) is not None


def marked_up(text: str) -> str:
    """Return a text as reportlab's markup, with a font for the letters that DejaVu lacks.

    Characters that Chinese and Japanese share are written in the font of the language that the rest of the text is in.
    """
    font = JAPANESE if re.search(f"[{_KANA}]", text) else KOREAN if re.search(f"[{_HANGUL}]", text) else CHINESE
    return _EAST_ASIAN.sub(lambda run: f'<font name="{font}">{run[0]}</font>', escape(text))
