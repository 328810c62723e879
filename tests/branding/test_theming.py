"""A theme made from one colour can be read, whatever the colour."""

from itertools import product

import pytest

from branding import theming

LEVELS = ("00", "33", "66", "80", "b3", "ff")
COLOURS = ["#" + "".join(mix) for mix in product(LEVELS, repeat=3)]


def test_the_guides_example_comes_out_to_the_digit():
    theme = theming.derive("#f5b700")
    assert (theme.ink, theme.text_light, theme.text_dark) == ("#14181f", "#8a670a", "#f5b700")
    assert theming.derive("#0f5c56").text_dark == "#6fb3ac"


def test_a_readable_colour_is_kept_as_it_is():
    theme = theming.derive("#0F5C56")
    assert (theme.brand, theme.ink, theme.text_light) == ("#0f5c56", "#ffffff", "#0f5c56")


@pytest.mark.parametrize(("one", "other", "ratio"), [("#ffffff", "#000000", 21), ("#777777", "#ffffff", 4.48)])
def test_contrast_is_that_of_wcag(one, other, ratio):
    assert theming.contrast(one, other) == theming.contrast(other, one) == pytest.approx(ratio, abs=0.01)


def test_every_colour_becomes_readable():
    for colour in COLOURS:
        theme = theming.derive(colour)
        assert theming.contrast(theme.ink, colour) >= 4.5, colour
        assert theming.contrast(theme.text_light, theming.SUNKEN_LIGHT) >= 4.6, colour
        assert theming.contrast(theme.text_dark, theming.SUNKEN_DARK) >= 6.5, colour
        assert theming.contrast(theme.wallpaper_light, theming.TEXT_LIGHT) >= 10, colour
        assert theming.contrast(theme.wallpaper_dark, theming.TEXT_DARK) >= 10, colour


@pytest.mark.parametrize("wallpaper", ["#000000", "#ffffff", "#c00000", "#223344", "#fbf5e3"])
def test_text_on_a_chosen_wallpaper_stays_readable(wallpaper):
    theme = theming.derive("#f5b700", wallpaper=wallpaper)
    assert theming.contrast(theme.wallpaper_light, theming.TEXT_LIGHT) >= 10
    assert theming.contrast(theme.wallpaper_dark, theming.TEXT_DARK) >= 10


def test_a_wallpaper_that_is_readable_is_kept():
    assert theming.derive("#f5b700", wallpaper="#fbf5e3").wallpaper_light == "#fbf5e3"
    assert theming.derive("#f5b700", wallpaper="#101820").wallpaper_dark == "#101820"


def test_the_stylesheet_sets_six_properties_and_nothing_else():
    text = theming.derive("#f5b700", radius=16, font="serif").stylesheet()
    assert text.startswith(":root {\n") and text.endswith("}\n")
    names = [line.split(":")[0].strip() for line in text.splitlines()[1:-1]]
    assert names == ["--brand", "--brand-ink", "--brand-text", "--radius", "--font", "--wallpaper"]
    assert "--brand-text: light-dark(#8a670a, #f5b700);" in text and "--radius: 16px;" in text
