"""The plot of latency against quality: every measured candidate, the budget and the bound, and where both are kept."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from packc.package.manifest import Manifest
from packc.report.figures import show_bound, show_percentile, show_quality, show_words
from packc.report.labels import Anchor, Box, Placement, place_labels
from packc.report.layout import PIT, Canvas, Point, collect_points, lay_out, locate, locate_interval, marker_boxes
from packc.report.svg import draw
from packc.report.view import Row, describe_count, describe_shape, is_error_metric

_CHAR_WIDTH = 6.8
"""Of the labels' monospaced font at 11 px, a little generous."""
_LINE_HEIGHT = 15.0
_WIDE = 500.0
"""From this width on, points carry their names and axes their whole titles."""
_RADIUS = 5.0


def draw_tradeoff(manifest: Manifest, rows: Sequence[Row], width: float, height: float, name: str) -> Markup | None:
    """The plot as an SVG of `width` x `height` CSS pixels, or None when no candidate has both figures.

    `name` makes its ids unique on the page.
    """
    points = collect_points(manifest, rows)
    timed = [point for point in points if point.latency_ms is not None and point.mark != "served"]
    if not timed:
        return None
    canvas = lay_out(manifest, points, width, height)
    bounds, captions, lines = _draw_bounds(manifest, points, canvas)
    markers = [_draw_point(point, canvas) for point in points]
    summary = (
        f"{_latency_name(manifest)} against {show_words(manifest.promises.quality_metric)} of "
        f"{describe_count(len(timed), 'measured candidate')}; the table of candidates has the same figures."
    )
    return draw(
        "svg",
        draw("title", f"Latency against quality of {manifest.model} for {manifest.target}", id=f"{name}-title"),
        draw("desc", summary, id=f"{name}-desc"),
        _draw_axes(manifest, canvas),
        bounds,
        *markers,
        _draw_labels(points, canvas, captions, lines),
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_="plot",
    )


def draw_mark(mark: str, x: float = 8, y: float = 8) -> Markup:
    """The marker of a standing (or "served") centred at x, y; each has a shape of its own as well as a colour."""
    css = f"mark mark-{mark.replace(' ', '-')}"
    if mark == "chosen":
        return draw(
            "g", draw("circle", cx=x, cy=y, r=7.5, class_="halo"), draw("circle", cx=x, cy=y, r=4.5), class_=css
        )
    if mark == "over budget":
        return draw("path", d=f"M{x:.1f} {y - 6:.1f}l6 6-6 6-6-6z", class_=css)
    if mark == "below quality":
        return draw("path", d=f"M{x - 5.5:.1f} {y - 4:.1f}h11l-5.5 9.5z", class_=css)
    if mark == "outpaced":
        return draw("path", d=f"M{x - 4.5:.1f} {y - 4.5:.1f}l9 9m0-9l-9 9", class_=css)
    if mark == "served":
        return draw("rect", x=x - 4.5, y=y - 4.5, width=9.0, height=9.0, class_=css)
    return draw("circle", cx=x, cy=y, r=_RADIUS, class_=css)


def _draw_axes(manifest: Manifest, canvas: Canvas) -> Markup:
    frame = canvas.frame
    floor, right = frame.y + frame.height, frame.x + frame.width
    bottom = floor if canvas.pit_y is None else floor + PIT
    is_error = is_error_metric(manifest.promises.quality_metric)
    parts = []
    for value in canvas.y.ticks(6):
        if is_error or value <= 1:
            at = canvas.y(value)
            parts.append(draw("line", x1=frame.x, x2=right, y1=at, y2=at, class_="grid"))
            parts.append(draw("text", f"{value:g}", x=frame.x - 8, y=at + 4, text_anchor="end", class_="tick"))
    if canvas.gutter_x is not None:
        edge = right + 6
        parts.append(
            draw("rect", x=edge, y=frame.y, width=canvas.width - edge, height=bottom - frame.y, rx=6.0, class_="aside")
        )
        parts.append(draw("text", "not timed", x=canvas.gutter_x, y=bottom + 18, text_anchor="middle", class_="tick"))
    if canvas.pit_y is not None:
        parts.append(draw("rect", x=frame.x, y=floor + 4, width=frame.width, height=PIT - 4, rx=6.0, class_="aside"))
        parts.append(draw("text", "below", x=frame.x - 8, y=canvas.pit_y + 5, text_anchor="end", class_="tick"))
    for value in canvas.x.ticks(5 if canvas.width < _WIDE else 9):
        at = canvas.x(value)
        parts.append(draw("line", x1=at, x2=at, y1=bottom, y2=bottom + 5, class_="axis"))
        parts.append(draw("text", f"{value:g}", x=at, y=bottom + 18, text_anchor="middle", class_="tick"))
    parts.append(draw("line", x1=frame.x, x2=right, y1=bottom, y2=bottom, class_="axis"))
    name = _latency_name(manifest) if canvas.width >= _WIDE else _latency_name(manifest).partition(" (")[0]
    title = f"{name}, ms{' (log)' if canvas.x.is_log else ''}"
    parts.append(draw("text", title, x=(frame.x + right) / 2, y=bottom + 40, text_anchor="middle", class_="title"))
    better = " (less is better)" if is_error else ""
    name = show_words(manifest.promises.quality_metric)
    parts.append(draw("text", f"{name}{better}", x=0.0, y=14.0, class_="title"))
    return draw("g", *parts)


def _draw_bounds(
    manifest: Manifest, points: Sequence[Point], canvas: Canvas
) -> tuple[Markup, tuple[Box, ...], tuple[Box, ...]]:
    """The lines of budget and bound with the zone where both are kept; the captions' boxes; the lines' boxes."""
    bounds, frame = manifest.promises, canvas.frame
    floor, right = frame.y + frame.height, frame.x + frame.width
    parts: list[Markup] = []
    captions: tuple[Box, ...] = ()
    lines: tuple[Box, ...] = ()
    budget_x = canvas.x(bounds.latency_ms) if bounds.latency_ms else None
    bound_y = canvas.y(bounds.quality_min) if bounds.quality_min is not None else None
    if budget_x is not None and bound_y is not None:
        up = not is_error_metric(bounds.quality_metric)
        zone_top, zone_floor = (frame.y, bound_y) if up else (bound_y, floor)
        parts.append(
            draw("rect", x=frame.x, y=zone_top, width=budget_x - frame.x, height=zone_floor - zone_top, class_="zone")
        )
    if budget_x is not None and bounds.latency_ms:
        text = f"budget {show_bound(bounds.latency_ms)} ms"
        half = len(text) * _CHAR_WIDTH / 2
        middle = min(max(budget_x, frame.x + half), right - half)
        parts.append(draw("line", x1=budget_x, x2=budget_x, y1=frame.y, y2=floor, class_="bound"))
        parts.append(draw("text", text, x=middle, y=frame.y - 6, text_anchor="middle", class_="caption"))
        lines = (Box(budget_x - 1, frame.y, 2, frame.height),)
    if bound_y is not None and bounds.quality_min is not None:
        text = f"{'at most' if is_error_metric(bounds.quality_metric) else 'at least'} {show_bound(bounds.quality_min)}"
        end = canvas.width if canvas.gutter_x is not None else right
        parts.append(draw("line", x1=frame.x, x2=end, y1=bound_y, y2=bound_y, class_="bound"))
        taken = [*lines, *(box for point in points for box in marker_boxes(point, canvas))]
        box = _find_caption_place(len(text) * _CHAR_WIDTH, bound_y, frame, taken)
        parts.append(draw("text", text, x=box.x + box.width / 2, y=box.y + 12, text_anchor="middle", class_="caption"))
        captions, lines = (box,), (*lines, Box(frame.x, bound_y - 1, frame.width, 2))
    return draw("g", *parts), captions, lines


def _find_caption_place(width: float, line_y: float, frame: Box, taken: Sequence[Box]) -> Box:
    """A free place just below or above a horizontal line, at its right end if possible."""
    places = [
        Box(x, y, width, _LINE_HEIGHT)
        for y in (line_y + 2, line_y - 2 - _LINE_HEIGHT)
        for x in (frame.x + frame.width - 4 - width, frame.x + 4, frame.x + (frame.width - width) / 2)
    ]
    free = (box for box in places if frame.holds(box) and not any(box.overlaps(other) for other in taken))
    return next(free, places[0])


def _draw_point(point: Point, canvas: Canvas) -> Markup:
    x, y = locate(point, canvas)
    high, low = locate_interval(point, canvas)
    bar = Markup("").join(
        draw("line", x1=x - reach, x2=x + reach, y1=y1, y2=y2, class_="error")
        for reach, y1, y2 in ((0.0, high, low), (4.0, high, high), (4.0, low, low))
    )
    when = "not timed" if point.latency_ms is None else f"{point.latency_ms:.3g} ms"
    q = point.quality
    title = f"{point.title}; {when}; {q.metric} {show_quality(q.value)} [{show_quality(q.low)}, {show_quality(q.high)}]"
    return draw("g", draw("title", title), bar, draw_mark(point.mark, x, y))


def _draw_labels(points: Sequence[Point], canvas: Canvas, captions: Sequence[Box], lines: Sequence[Box]) -> Markup:
    """Names where all find a place, if need be across a line; else the keys of the table, one label a place."""
    names = [(point, _name(point, canvas)) for point in points]
    order = [point.key for point in points if point.mark != "served"]
    keys = [(spot[0], _join_keys([point.key for point in spot], order)) for spot in _find_spots(points, canvas)]
    for labels in (names, keys) if canvas.width >= _WIDE else (keys,):
        owners, texts = zip(*labels, strict=True)
        for obstacles in ((*captions, *lines), captions):
            if (placed := _place(points, owners, texts, canvas, obstacles)) is not None:
                return _draw_texts(owners, texts, placed, canvas)
    return Markup("")


def _find_spots(points: Sequence[Point], canvas: Canvas) -> list[list[Point]]:
    """The points, those together whose like markers cover each other."""
    spots: list[list[Point]] = []
    for point in points:
        x, y = locate(point, canvas)
        for spot in spots:
            at_x, at_y = locate(spot[0], canvas)
            if spot[0].mark == point.mark and abs(at_x - x) + abs(at_y - y) < _RADIUS / 2:
                spot.append(point)
                break
        else:
            spots.append([point])
    return spots


def _join_keys(keys: Sequence[str], order: Sequence[str]) -> str:
    """`L`, `J, K`, or `F, L-X` where three or more follow each other in `order`."""
    runs: list[list[str]] = []
    for key in keys:
        if runs and key in order and order.index(key) == order.index(runs[-1][-1]) + 1:
            runs[-1].append(key)
        else:
            runs.append([key])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _draw_texts(points: Sequence[Point], texts: Sequence[str], placed: Sequence[Placement], canvas: Canvas) -> Markup:
    parts = []
    for point, text, placement in zip(points, texts, placed, strict=True):
        box = placement.box
        if placement.is_far:
            x, y = locate(point, canvas)
            to_x = min(max(x, box.x), box.x + box.width)
            to_y = min(max(y, box.y), box.y + box.height)
            parts.append(draw("line", x1=x, y1=y, x2=to_x, y2=to_y, class_="leader"))
        css = "label label-chosen" if point.mark == "chosen" else "label"
        parts.append(draw("text", text, x=box.x + box.width / 2, y=box.y + 11, text_anchor="middle", class_=css))
    return draw("g", *parts)


def _name(point: Point, canvas: Canvas) -> str:
    """The point's label; with its quality where the axis does not tell it."""
    return point.label if point.quality.value >= canvas.lowest else f"{point.label} {show_quality(point.quality.value)}"


def _place(
    points: Sequence[Point],
    owners: Sequence[Point],
    texts: Sequence[str],
    canvas: Canvas,
    obstacles: Sequence[Box],
) -> tuple[Placement, ...] | None:
    """A place for the text of each of the `owners`, free of all `points`; None where there is no room for all."""
    frame = canvas.frame
    height = frame.height + 4 + (0.0 if canvas.pit_y is None else PIT)
    timed, untimed = (Box(frame.x, frame.y - 4, width, height) for width in (frame.width, canvas.width - frame.x))
    anchors = [
        Anchor(
            *locate(point, canvas),
            _RADIUS + 2,
            len(text) * _CHAR_WIDTH + 2,
            _LINE_HEIGHT,
            untimed if point.latency_ms is None else timed,
        )
        for point, text in zip(owners, texts, strict=True)
    ]
    return place_labels(anchors, [*obstacles, *(box for point in points for box in marker_boxes(point, canvas))])


def _latency_name(manifest: Manifest) -> str:
    percentile = show_percentile(50 if manifest.promises.percentile <= 50 else 99)
    measured = next((c.measurements for c in manifest.candidates if c.measurements and c.measurements.p99_ms), None)
    shape = describe_shape(measured.batch, measured.sequence) if measured else ""
    return f"{percentile} latency of one caller{f' ({shape})' if shape else ''}"


LEGEND: tuple[tuple[str, str], ...] = (
    ("chosen", "chosen"),
    ("served", "through the server, under load"),
    ("kept", "keeps every promise"),
    ("over budget", "over budget"),
    ("below quality", "below quality"),
    ("outpaced", "behind in a short timing"),
    ("not timed", "not timed"),
    ("not run", "not run on the device"),
)
"""Mark -> its meaning."""
