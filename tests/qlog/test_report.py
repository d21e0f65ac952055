"""`interquic qlog report`: one page that holds what it draws, and draws it in a browser."""

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from qlog_samples import HEADER, HEADER_03, events, sequence

from endpoint.cli.main import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

PACKET = {
    "header": {"packet_type": "1RTT", "packet_number": 4},
    "raw": {"length": 1200},
    "frames": [
        {"frame_type": "ack", "acked_ranges": [[0, 3]]},
        {"frame_type": "ping"},
        {"frame_type": "ping"},
        {"frame_type": "stream", "stream_id": 0, "offset": 100, "raw": {"length": 50}},
    ],
}
EVENTS = [
    {"time": 1.0, "name": "quic:packet_sent", "data": PACKET},
    {"time": 2.0, "name": "quic:recovery_metrics_updated", "data": {"congestion_window": 12000}},
    {"time": 3.0, "name": "quic:recovery_metrics_updated", "data": {"latest_rtt": 20.5}},
    {"time": 4.0, "name": "quic:packet_lost", "data": {"header": PACKET["header"]}},
    {"time": 5.0, "name": "loglevel:info", "data": {"message": "</script><b>hostile</b>"}},
    {"time": 6.0, "name": "quic:spin_bit_updated", "data": {}},
]


class Page(html.parser.HTMLParser):
    """What a page refers to, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in {"src", "href", "action"}]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.scripts.append(data)


def page(folder: Path, *files: bytes) -> tuple[Path, Page, list[Any]]:
    """The page about traces, parsed, and the sides of its first connection."""
    paths = []
    for index, content in enumerate(files):
        paths.append(folder / f"{index}.sqlog")
        paths[-1].write_bytes(content)
    out = folder / "report.html"
    assert main(["qlog", "report", *map(str, paths), "-o", str(out)]) == 0
    parsed = Page(out.read_text())
    content = json.loads(parsed.scripts[0])
    return out, parsed, [content["words"], *content["pairs"][0]]


def test_needs_nothing_else(tmp_path: Path) -> None:
    out, parsed, _ = page(tmp_path, sequence(HEADER, EVENTS))
    assert parsed.references == []
    assert "b" not in parsed.tags
    assert parsed.tags.count("script") == 2
    assert not re.search(r"https?://|@import|fetch\(|XMLHttpRequest|import\(", out.read_text())


def test_what_is_drawn(tmp_path: Path) -> None:
    _, _, (words, side) = page(tmp_path, sequence(HEADER, EVENTS))
    time, sent, kind, number, size, frames = (column[0] for column in side["packets"])
    assert (time, sent, words[kind], number, size) == (0.0, 1, "1RTT", 4, 1200)
    assert words[frames] == "ack 3, 2 ping, stream 0"
    assert side["metrics"] == [
        [1.0, 2.0],
        [12000, 12000],
        [None, None],
        [None, 20.5],
        [None, None],
        [None, None],
    ]
    assert side["streams"] == [[0.0], [1], [0], [100], [50]]
    assert side["losses"] == [[3.0], [kind], [4]]
    assert [event[2] for event in side["events"]] == [
        "quic:packet_lost",
        "loglevel:info",
    ]
    # A finding leads to the time of its event.
    assert [5.0, 5, "error", "schema-required"] in [finding[:4] for finding in side["findings"]]


def test_two_sides(tmp_path: Path) -> None:
    header = json.loads(json.dumps(HEADER))
    header["trace"]["vantage_point"]["type"] = "server"
    received = [{"time": 501.0, "name": "quic:packet_received", "data": PACKET}]
    _, _, (_, client, server) = page(tmp_path, sequence(header, received), sequence(HEADER, EVENTS))
    assert (client["role"], server["role"]) == ("client", "server")
    assert client["packets"][0] == server["packets"][0] == [0.0]


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.sqlog"
    path.write_bytes(sequence(HEADER, []))
    assert main(["qlog", "report", str(path), "-o", str(path)]) == 2
    assert main(["qlog", "report", str(path), "-o", str(tmp_path / "r.html")]) == 2
    assert main(["qlog", "report", str(tmp_path / "b"), "-o", str(tmp_path / "r.html")]) == 2
    assert capsys.readouterr().err.count("interquic: ") == 3
    path.write_bytes(sequence(HEADER, EVENTS))
    assert main(["qlog", "report", str(path), "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"interquic: {tmp_path}: Is a directory\n"


def browsed(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The document that a browser makes of a page, and what its console says."""
    assert CHROMIUM is not None
    return subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
         "--virtual-time-budget=2000", "--enable-logging=stderr", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
@pytest.mark.parametrize("era", ["newest", "0.3"])
def test_in_a_browser(era: str, tmp_path: Path) -> None:
    """The script runs to its end, with one of every event."""
    all_events = events("newest" if era == "newest" else "v03", full=True)
    out, _, _ = page(tmp_path, sequence(HEADER if era == "newest" else HEADER_03, all_events + EVENTS))
    dumped = browsed(out, tmp_path)
    assert 'data-drawn="yes"' in dumped.stdout
    assert "CONSOLE" not in dumped.stderr
    assert "<td>schema-required</td>" in dumped.stdout


# Before the page's own script: a browser without a screen skips frames.
FRAMES = "<script>requestAnimationFrame = (then) => setTimeout(then);</script>"
# Does what a hand would, and writes to the document which charts have changed, and where they begin now.
HANDS = """<script>
  const all = ["packets", "window", "rtt", "streams"], log = [];
  const pictures = () => all.map((id) => element(id).toDataURL());
  const frame = () => new Promise((then) => setTimeout(then, 20));
  const at = (x, more) => ({ bubbles: true, cancelable: true, clientX: x, pointerId: 1, ...more });
  const pointer = (canvas, type, x, button = -1) =>
    canvas.dispatchEvent(new PointerEvent(type, at(x, { button })));
  const drag = (canvas, button) => {
    pointer(canvas, "pointerdown", 300, button);
    pointer(canvas, "pointermove", 310);
    pointer(canvas, "pointermove", 320);
    pointer(canvas, "pointerup", 320, button);
    pointer(canvas, "lostpointercapture", 320);  // only real pointers are captured
  };
  const hands = {
    "drag at first": (canvas) => drag(canvas, 0),
    wheel: (canvas) => canvas.dispatchEvent(new WheelEvent("wheel", at(300, { deltaY: -100 }))),
    drag: (canvas) => drag(canvas, 0),
    "move without button": (canvas) => pointer(canvas, "pointermove", 500),
    "drag with the right button": (canvas) => drag(canvas, 2),
    dblclick: (canvas) => canvas.dispatchEvent(new MouseEvent("dblclick", at(300))),
  };
  (async () => {
    await frame();  // for what is drawn at first
    for (const id of all) for (const name of Object.keys(hands)) {
      const before = pictures(), begin = view[0];
      hands[name](element(id));
      await frame();
      const after = pictures(), moved = all.filter((_, i) => before[i] !== after[i]);
      const where = view[0] < begin ? " earlier" : view[0] > begin ? " later" : "";
      log.push(`${name} on ${id}: ${moved.join() || "none"}${where}`);
    }
    document.body.dataset.moved = log.join("; ");
  })();
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_charts_move_together(tmp_path: Path) -> None:
    """Whichever chart the hand is over: all show the same time. What is shown whole can't be moved."""
    out, _, _ = page(tmp_path, sequence(HEADER, EVENTS))
    out.write_text(out.read_text().replace("<script", FRAMES + "<script", 1).replace("</body>", HANDS))
    moved = re.search(r'data-moved="([^"]*)"', browsed(out, tmp_path).stdout)
    assert moved is not None
    every = "packets,window,rtt,streams"
    expected = {
        "drag at first": "none",
        "wheel": f"{every} later",
        "drag": f"{every} earlier",
        "move without button": "none",
        "drag with the right button": "none",
        "dblclick": f"{every} earlier",
    }
    assert moved[1].split("; ") == [
        f"{name} on {chart}: {what}" for chart in every.split(",") for name, what in expected.items()
    ]
