"""Makes a whole theme from one colour: what is readable on it, and what of it is readable on our surfaces.

Source: the user interface guide, section 2. Contrast is WCAG 2.2's; lightness moves in OKLCH (Björn Ottosson, 2020),
where a step looks equally large for every hue.
"""

from dataclasses import dataclass
from math import atan2, cos, hypot, sin

SUNKEN_LIGHT, SUNKEN_DARK = "#f1f3f6", "#1d222b"  # --sunken of static/css/tokens.css, the hardest ground for text
TEXT_LIGHT, TEXT_DARK = "#14181f", "#e9edf2"  # --text there
WHITE, NEAR_BLACK, BLACK = "#ffffff", "#14181f", "#000000"
READABLE = 4.5
TEXT_ON_LIGHT, TEXT_ON_DARK = 4.6, 6.5
TINT = 0.12  # how much of the brand is in the ground of a pill
STEP, FADE = 0.01, 0.96  # of lightness; of chroma, until a screen can show it

FONTS = {
    "system": 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif',
    "humanist": '"Avenir Next", "Nunito Sans", Montserrat, Corbel, "Source Sans 3", "Noto Sans", sans-serif',
    "rounded": 'ui-rounded, "SF Pro Rounded", Quicksand, Comfortaa, "Arial Rounded MT Bold", Calibri, sans-serif',
    "serif": '"Iowan Old Style", "Palatino Linotype", "URW Palladio L", P052, Georgia, "Noto Serif", serif',
    "slab": 'Rockwell, "Rockwell Nova", "Roboto Slab", "DejaVu Serif", "Sitka Small", serif',
    "mono": 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
}


@dataclass(frozen=True)
class Theme:
    """The six properties a tenant sets. Colours are ``#rrggbb``, radius is in pixels."""

    brand: str
    ink: str
    text_light: str
    text_dark: str
    wallpaper_light: str
    wallpaper_dark: str
    radius: int
    font: str

    def stylesheet(self, selector: str = ":root") -> str:
        """One CSS rule that sets the six properties and nothing else."""
        properties = {
            "--brand": self.brand,
            "--brand-ink": self.ink,
            "--brand-text": f"light-dark({self.text_light}, {self.text_dark})",
            "--radius": f"{self.radius}px",
            "--font": FONTS[self.font],
            "--wallpaper": f"light-dark({self.wallpaper_light}, {self.wallpaper_dark})",
        }
        return selector + " {\n" + "".join(f"  {name}: {value};\n" for name, value in properties.items()) + "}\n"

    def measured(self) -> list[tuple[str, float]]:
        """``(what stands on what, its contrast to one)``, for people."""
        return [
            ("Button text on your colour", contrast(self.ink, self.brand)),
            ("Links and icons on light grounds", contrast(self.text_light, SUNKEN_LIGHT)),
            ("Links and icons on dark grounds", contrast(self.text_dark, SUNKEN_DARK)),
        ]


def derive(colour: str, *, wallpaper: str = "", radius: int = 10, font: str = "system") -> Theme:
    """The theme of one colour. No colour is refused: it is adapted until everything can be read.

    colour, wallpaper  ``#rrggbb``; without a wallpaper it is a hint of the colour
    """
    colour = colour.lower()
    light, dark = _wallpapers(wallpaper.lower() or colour, chosen=bool(wallpaper))
    return Theme(colour, _ink(colour), _text_light(colour), _text_dark(colour), light, dark, radius, font)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of two colours, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _ink(colour: str) -> str:
    for ink in (WHITE, NEAR_BLACK):
        if contrast(ink, colour) >= READABLE:
            return ink
    return BLACK


def _text_light(colour: str) -> str:
    lightness, chroma, hue = _oklch(colour)
    tint = _hex(1 - TINT * (1 - lightness), TINT * chroma, hue)
    text = colour
    while contrast(text, SUNKEN_LIGHT) < TEXT_ON_LIGHT or contrast(text, tint) < READABLE:
        lightness -= STEP
        text = _hex(lightness, chroma, hue)
    return text


def _text_dark(colour: str) -> str:
    lightness, chroma, hue = _oklch(colour)
    text = colour
    while contrast(text, SUNKEN_DARK) < TEXT_ON_DARK:
        lightness += STEP
        text = _hex(lightness, chroma, hue)
    return text


def _wallpapers(colour: str, *, chosen: bool) -> tuple[str, str]:
    """For light and dark. A chosen one is kept as far as the text on it stays easy to read."""
    lightness, chroma, hue = _oklch(colour)
    hint = min(chroma * 0.15, 0.025)
    light = colour if chosen else _hex(0.95, hint, hue)
    while contrast(light, TEXT_LIGHT) < 10:
        lightness += STEP
        light = _hex(lightness, chroma, hue)
    dark = colour if chosen and contrast(colour, TEXT_DARK) >= 10 else _hex(0.18, hint, hue)
    return light, dark


def _channels(colour: str) -> list[float]:
    """Linear light of red, green, blue, 0 to 1."""
    values = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def _luminance(colour: str) -> float:
    red, green, blue = _channels(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _oklch(colour: str) -> tuple[float, float, float]:
    """Lightness 0 to 1, chroma, hue in radians."""
    r, g, b = _channels(colour)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    lightness = 0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short
    green_red = 1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short
    blue_yellow = 0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short
    return lightness, hypot(green_red, blue_yellow), atan2(blue_yellow, green_red)


def _linear(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    green_red, blue_yellow = chroma * cos(hue), chroma * sin(hue)
    long = (lightness + 0.3963377774 * green_red + 0.2158037573 * blue_yellow) ** 3
    medium = (lightness - 0.1055613458 * green_red - 0.0638541728 * blue_yellow) ** 3
    short = (lightness - 0.0894841775 * green_red - 1.2914855480 * blue_yellow) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _hex(lightness: float, chroma: float, hue: float) -> str:
    """The colour, paler where a screen cannot show it so strong."""
    if lightness <= 0 or lightness >= 1:
        return BLACK if lightness <= 0 else WHITE
    while not all(0 <= channel <= 1 for channel in _linear(lightness, chroma, hue)) and chroma > 0.001:
        chroma *= FADE
    encoded = (
        12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055
        for c in (min(1.0, max(0.0, c)) for c in _linear(lightness, chroma, hue))
    )
    return "#" + "".join(f"{round(255 * c):02x}" for c in encoded)
