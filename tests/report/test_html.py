from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import manifests
from packc.package.manifest import Manifest
from packc.report.html import make_headline, render_html, write_html

MAKERS: dict[str, Callable[[], Manifest]] = {
    "kept": manifests.make_kept_manifest,
    "missed": manifests.make_missed_manifest,
    "allowed": manifests.make_allowed_manifest,
    "imported": manifests.make_imported_manifest,
    "planned": manifests.make_planned_manifest,
    "error": manifests.make_error_manifest,
    "halved": manifests.make_halved_manifest,
    "crowded": manifests.make_crowded_manifest,
    "mixed": manifests.make_mixed_manifest,
    "gpu": lambda: manifests.make_gpu_manifest(*manifests.HELD_BACK),
}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EMPTY_ELEMENTS = {"meta", "link", "br", "hr", "img", "input"}

INSPECT = """
<script>
addEventListener("load", () => {
  const visible = e => { const s = getComputedStyle(e); return s.visibility !== "hidden" && s.display !== "none"; };
  const boxes = [...document.querySelectorAll(".plot text")].map(e => [e.textContent, e.getBoundingClientRect()])
    .filter(([, r]) => r.width > 0);
  const overlaps = [];
  boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
    const beside = p.right - 1 <= q.left || q.right - 1 <= p.left || p.bottom - 2 <= q.top || q.bottom - 2 <= p.top;
    if (!beside) overlaps.push([a, b]);
  }));
  const plots = [...document.querySelectorAll(".plot")].map(e => e.getBoundingClientRect()).filter(r => r.width > 0);
  const outside = boxes.filter(([, r]) => !plots.some(p => p.left <= r.left + 1 && r.right <= p.right + 1))
    .map(([text]) => text);
  const width = document.documentElement.clientWidth;
  const wide = [...document.querySelectorAll("body *")].filter(e => visible(e) && !e.closest(".table, pre, svg")
    && e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80));
  const out = document.createElement("script");
  out.type = "application/json";
  out.id = "findings";
  out.textContent = JSON.stringify({
    overlaps, outside, wide, plots: plots.length, texts: boxes.length, width,
    requests: performance.getEntriesByType("resource").map(e => e.name),
    background: getComputedStyle(document.body).backgroundColor,
    headline: document.querySelector(".verdict h2").textContent,
  });
  document.body.append(out);
});
</script>
"""


class Page(HTMLParser):
    """Checks that tags are balanced, and keeps the text, the links out and the ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outward: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY_ELEMENTS:
            self.open.append(tag)
        self._keep(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._keep(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def _keep(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data") and not (value or "").startswith(("data:", "#")):
                self.outward.append(f"{name}={value}")
            if name == "id" and value:
                self.ids.append(value)


@pytest.mark.parametrize("name", MAKERS)
def test_page_is_whole_and_asks_for_nothing(name: str) -> None:
    text = render_html(MAKERS[name]())
    page = Page(text)
    assert page.outward == []
    assert len(set(page.ids)) == len(page.ids)
    assert not re.search(r"https?://|@import|url\(|<script|\son\w+=", text)


@pytest.mark.parametrize("name", MAKERS)
def test_page_has_every_candidate_rejection_and_pass(name: str) -> None:
    manifest = MAKERS[name]()
    text = Page(render_html(manifest)).text
    for record in manifest.candidates:
        assert record.id in text
        assert record.failure is None or record.failure in text
        assert all(step in text for step in record.passes)
        assert all(warning in text for warning in record.warnings)
    for item in manifest.rejected:
        assert item.what in text
        assert item.reason in text
    for reason in manifest.verdict.reasons:
        assert reason in text
    for key, value in manifest.environment.items():
        assert key in text
        assert value in text


def test_figures_that_were_not_measured_are_dashes_with_a_reason() -> None:
    page = render_html(manifests.make_planned_manifest())
    row = page.split("<tbody>")[1].split("</tr>")[0]
    cells = re.findall(r"<td.*?</td>", row, re.DOTALL)
    assert len(cells) == 9
    assert "not measured: the package is only planned" in cells[0]
    for cell in cells[1:]:
        assert "–" in cell
        assert "not measured" in cell
    assert not re.search(r">\s*[\d.]+\s*<", row)


def test_a_reason_stands_once_in_its_row() -> None:
    page = render_html(manifests.make_halved_manifest())
    rows = page.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")
    (outpaced,) = (row for row in rows if " outpaced" in row)
    assert "p50 about 5.12 ms" in outpaced
    assert page.count("others were ahead in a few calls") == 1
    (crashed,) = (row for row in rows if "onnxruntime-bf16-fused" in row)
    assert crashed.count("killed by SIGSEGV") == 1


def test_what_did_not_run_is_not_among_what_failed() -> None:
    page = render_html(manifests.make_imported_manifest())
    cards = dict(re.findall(r"<h3>([^<]*)</h3><ul class=\"reasons\">(.*?)</ul>", page, re.DOTALL))
    names = {title: re.findall(r"<strong[^>]*>([^<]*)</strong>", text) for title, text in cards.items()}
    assert names["Tried and failed"] == ["onnxruntime-bf16-fused"]
    assert names["Waiting for the device"] == ["onnxruntime-int8-dynamic", "onnxruntime-fp16-fused"]
    rows = page.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")
    assert sum("</svg> not run<" in row for row in rows) == 2


def test_what_people_wrote_is_escaped() -> None:
    kept = manifests.make_kept_manifest()
    nasty = replace(
        kept,
        profile="<b>x</b>",
        candidates=(replace(kept.candidates[2], failure="<script>alert(1)</script>"), *kept.candidates),
    )
    text = render_html(nasty)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>x</b>" not in text


@pytest.mark.parametrize(
    ("name", "tone", "title"),
    [
        ("kept", "good", f"{manifests.CHOSEN} keeps every promise"),
        ("allowed", "bad", f"{manifests.CHOSEN} was chosen although it misses a promise"),
        ("missed", "bad", "No candidate keeps every promise"),
        ("planned", "open", "The promises could not be judged here"),
    ],
)
def test_headline_is_the_verdict(name: str, tone: str, title: str) -> None:
    headline = make_headline(MAKERS[name]())
    assert (headline.tone, headline.title) == (tone, title)


def test_write_replaces_the_page_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_html(manifests.make_kept_manifest(), path)
    assert path.read_text(encoding="utf-8") == render_html(manifests.make_kept_manifest())
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("kept", 1280, "light"),
        ("kept", 500, "dark"),
        ("crowded", 1280, "light"),
        ("error", 760, "dark"),
        ("mixed", 1280, "light"),
        ("mixed", 500, "dark"),
    ],
)
def test_page_in_a_browser(name: str, width: int, scheme: str, tmp_path: Path) -> None:
    found, console = look_in_chromium(render_html(MAKERS[name]()), tmp_path, width, scheme)
    assert console == []
    assert found["requests"] == []
    assert found["overlaps"] == []
    assert found["outside"] == []
    assert found["wide"] == []
    assert found["plots"] == (2 if name == "mixed" else 1)
    assert found["texts"] > 8
    assert found["headline"] == make_headline(MAKERS[name]()).title
    assert (found["background"] == "rgb(15, 17, 21)") == (scheme == "dark")


def look_in_chromium(page: str, folder: Path, width: int, scheme: str) -> tuple[dict[str, Any], list[str]]:
    """What a script found on the page laid out `width` pixels wide, and the messages of the console."""
    assert CHROMIUM is not None
    path = folder / "report.html"
    path.write_text(page.replace("</body>", f"{INSPECT}</body>"), encoding="utf-8")
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=3000 --dump-dom"
    )
    done = subprocess.run(
        [
            CHROMIUM,
            *flags.split(),
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},2000",
            f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    match = re.search(r'id="findings">(.*?)</script>', done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    return json.loads(match[1]), [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def test_a_gpus_clocks_stand_with_where_it_was_measured() -> None:
    assert "<dt>GPU when timed</dt><dd>SM clock 1,725 to 1,980 MHz, 310 to 700 W" in render_html(MAKERS["gpu"]())
    assert "GPU when timed" not in render_html(MAKERS["kept"]())


def test_peaks_of_a_profile_are_not_called_found() -> None:
    halved = MAKERS["halved"]()
    assert halved.limits is not None
    stated = replace(halved, limits=replace(halved.limits, source="of the profile nvidia-h200-sxm"))
    assert "the best products found with" in render_html(halved)
    assert "; the profile states " in render_html(stated)


def test_the_table_has_the_gpu_s_memory_where_it_was_measured() -> None:
    page = render_html(manifests.make_gpu_manifest(device_memory_mib=206.0))
    assert page.count("GPU<br>MiB") == 1
    assert 'data-name="GPU memory, MiB"' in page
    assert "GPU<br>MiB" not in render_html(manifests.make_kept_manifest())
