"""Draw a chronicle as one HTML page that needs nothing else: no script, no font, no network.

Every name and message was chosen by strangers, so all text passes `_safe`, which makes it
harmless first for people and then for HTML.
"""

import html
from collections.abc import Iterator, Sequence

from resumed import text
from resumed.chronicle import SLICES, WHOLE, Chronicle, percentile
from resumed.listing import moment

WIDTH, HEIGHT, LEFT, BOTTOM = 960, 200, 46, 22
_REASONS_SHOWN = 12
_STYLE = """
:root{color-scheme:light dark;--ink:#1d2330;--soft:#5d6675;--line:#dfe3ea;--paper:#fff;
--done:#2a78c2;--failed:#c8442f;--wait:#8a6fb0}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#9aa3b2;--line:#333b49;
--paper:#161a22;--done:#5aa2e6;--failed:#ee7765;--wait:#b39ad6}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0}h2{font-size:1.05rem;margin:2.2rem 0 .4rem}
p{color:var(--soft);margin:.2rem 0}svg{width:100%;height:auto;display:block}
svg text{fill:var(--soft);font-size:11px}svg .grid{stroke:var(--line)}
.done{fill:var(--done)}.failed{fill:var(--failed)}.backlog{fill:none;stroke:var(--wait);
stroke-width:2}.area{fill:var(--wait);opacity:.15}
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem .25rem 0;text-align:left;
border-bottom:1px solid var(--line);vertical-align:baseline}.n{text-align:right;
font-variant-numeric:tabular-nums;white-space:nowrap}td.why{overflow-wrap:anywhere}
.tiles{display:flex;flex-wrap:wrap;gap:2rem;margin:1.2rem 0}.tiles b{display:block;
font-size:1.7rem;font-weight:600}.key i{display:inline-block;width:.7em;height:.7em;
margin:0 .3em 0 1em}.meter{background:var(--failed);height:.7em;border-radius:2px;
position:relative;top:.05em}
"""


def page(chronicle: Chronicle, title: str) -> str:
    """Write the whole page."""
    return "\n".join(_page(chronicle, _safe(title)))


def _page(seen: Chronicle, title: str) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>resumed: {title}</title><style>{_STYLE}</style>"
    yield f"<h1>{title}</h1><p>{moment(seen.since)} to {moment(seen.until)}</p>"
    tiles = (
        (sum(seen.arrived), "arrived"),
        (sum(seen.done), "done"),
        (sum(seen.failed), "failed"),
        (seen.backlog[-1], "unfinished now"),
    )
    shown = "".join(f"<div><b>{count}</b>{name}</div>" for count, name in tiles)
    yield f'<div class="tiles">{shown}</div>'
    per = text.duration(round(seen.slice_seconds))
    yield f"<h2>Throughput</h2><p>items that ended, in slices of {per}"
    yield '<span class="key"><i style="background:var(--done)"></i>done'
    yield '<i style="background:var(--failed)"></i>failed</span></p>'
    yield from _bars(seen)
    yield "<h2>Backlog</h2><p>items taken and not finished</p>"
    yield from _curve(seen)
    yield "<h2>Durations</h2>"
    yield from _durations(seen)
    yield "<h2>Failures by reason</h2>"
    yield from _reasons(seen)
    yield "</html>"


def _frame(seen: Chronicle, most: int, label: str) -> Iterator[str]:
    """Open a picture and draw its grid: a scale at the left, times below."""
    yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    for part in range(3):
        level = most * part / 2
        y = _height(level, most)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level:g}</text>'
    for part in range(5):
        at = seen.since + (seen.until - seen.since) * part / 4
        anchor = ("start", "middle", "middle", "middle", "end")[part]
        x = LEFT + (WIDTH - LEFT) * part / 4
        yield f'<text x="{x:.0f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{moment(at)[5:16]}</text>'


def _height(number: float, most: int) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 12) * number / most


def _round(number: int) -> int:
    """Round a scale's end up to a number that people read at a glance, as is its half."""
    ten = int(10 ** max(0, len(str(number)) - 2))
    steps = (2, 4, 6, 8, 10, 20, 30, 40, 60, 80, 100)
    return next(step * ten for step in steps if step * ten >= number)


def _bars(seen: Chronicle) -> Iterator[str]:
    most = _round(max(map(sum, zip(seen.done, seen.failed, strict=True))))
    yield from _frame(seen, most, "items done and failed over time")
    step = (WIDTH - LEFT) / SLICES
    for number in range(SLICES):
        done, failed = seen.done[number], seen.failed[number]
        told = moment(seen.since + number * seen.slice_seconds)
        yield f"<g><title>{told}: {done} done, {failed} failed</title>"
        for kind, low, high in (("done", 0, done), ("failed", done, done + failed)):
            if high > low:
                top, bottom = _height(high, most), _height(low, most)
                place = f'x="{LEFT + number * step + 1:.1f}" y="{top:.1f}"'
                extent = f'width="{step - 2:.1f}" height="{bottom - top:.1f}"'
                yield f'<rect class="{kind}" {place} {extent} rx="1"/>'
        yield "</g>"
    yield "</svg>"


def _curve(seen: Chronicle) -> Iterator[str]:
    most = _round(max(seen.backlog))
    yield from _frame(seen, most, "unfinished items over time")
    step = (WIDTH - LEFT) / SLICES
    points = [
        f"{LEFT + (number + 0.5) * step:.1f},{_height(count, most):.1f}"
        for number, count in enumerate(seen.backlog)
    ]
    ground = HEIGHT - BOTTOM
    ends = f"{WIDTH - step / 2:.1f},{ground} {LEFT + step / 2:.1f},{ground}"
    yield f'<polygon class="area" points="{" ".join(points)} {ends}"/>'
    yield f'<polyline class="backlog" points="{" ".join(points)}"/></svg>'


def _durations(seen: Chronicle) -> Iterator[str]:
    if not seen.seconds:
        yield "<p>nothing was done in this period</p>"
        return
    heads = ("step", "times", "median", "95 % within", "longest")
    rows = []
    for step in sorted(seen.seconds, key=lambda name: (name != WHOLE, name)):
        numbers = seen.seconds[step]
        times = [percentile(numbers, 0.5), percentile(numbers, 0.95), max(numbers)]
        rows.append((step, str(len(numbers)), *map(text.duration, times)))
    yield from _table(heads, rows)


def _reasons(seen: Chronicle) -> Iterator[str]:
    if not seen.reasons:
        yield "<p>nothing failed in this period</p>"
        return
    most = max(seen.reasons.values())
    yield '<table><tr><th>reason<th class="n">items<th style="width:30%">'
    for reason, count in seen.reasons.most_common(_REASONS_SHOWN):
        bar = f'<div class="meter" style="width:{100 * count / most:.0f}%"></div>'
        yield f'<tr><td class="why">{_safe(reason)}<td class="n">{count}<td>{bar}'
    yield "</table>"
    rest = len(seen.reasons) - _REASONS_SHOWN
    if rest > 0:
        yield f"<p>and {rest} more reasons</p>"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    first, *others = heads
    yield f"<table><tr><th>{first}" + "".join(f'<th class="n">{head}' for head in others)
    for name, *numbers in rows:
        cells = "".join(f'<td class="n">{_safe(each)}' for each in numbers)
        yield f'<tr><td class="why">{_safe(name)}{cells}'
    yield "</table>"


def _safe(shown: str) -> str:
    return html.escape(text.escape(shown))
