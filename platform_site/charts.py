"""Charts as SVG, made on the server and coloured by CSS classes; each page shows the figures as a table too."""

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT, LEFT, BOTTOM, GAP = 640, 200, 44, 22, 0.28


def bars(title: str, points: list[tuple[str, int]]) -> SafeString:
    """One bar for each ``(label, value)``, with a scale of two lines; the title is read out in its place."""
    top = _round_up(max((value for _, value in points), default=0))
    step = (WIDTH - LEFT) / max(1, len(points))
    drawn = format_html_join(
        "",
        '<rect class="bar s0" x="{}" y="{}" width="{}" height="{}" rx="2"><title>{}: {}</title></rect>',
        (
            (_px(LEFT + step * (number + GAP / 2)), _px(_y(value, top)), _px(step * (1 - GAP)),
             _px(HEIGHT - BOTTOM - _y(value, top)), label, f"{value:,}")
            for number, (label, value) in enumerate(points)
        ),
    )  # fmt: skip
    labels = format_html_join(
        "",
        '<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>',
        (
            (_px(LEFT + step * (number + 0.5)), HEIGHT - 6, label)
            for number, (label, _) in enumerate(points)
            if number % 2 == (len(points) - 1) % 2
        ),
    )
    scale = format_html_join(
        "",
        '<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>'
        '<text class="axis" x="{}" y="{}" text-anchor="end">{}</text>',
        (
            (LEFT, WIDTH, _px(_y(value, top)), _px(_y(value, top)), LEFT - 8, _px(_y(value, top) + 4), f"{value:,}")
            for value in (0, top // 2, top)
        ),
    )
    return format_html(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>',
        WIDTH, HEIGHT, title, scale, drawn, labels,
    )  # fmt: skip


def _y(value: int, top: int) -> float:
    return 10 + (HEIGHT - BOTTOM - 10) * (1 - value / top)


def _round_up(highest: int) -> int:
    """The next of 2, 4, 6, 8, 10, 20, 40 …, which half and whole can be written on a scale."""
    scale = 2
    while True:
        for factor in (1, 2, 3, 4, 5):
            if scale * factor >= highest:
                return scale * factor
        scale *= 10


def _px(number: float) -> str:
    return f"{number:.1f}"
