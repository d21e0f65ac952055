"""`interquic qlog repair`, `merge` and `split`: other files with the same events."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from qlog_samples import HEADER, HEADER_03, contained, events, sequence

from endpoint.cli.main import main
from qlog.reader import Reader
from qlog.validate import validate_file

ONE = [{"time": float(index), "name": "quic:spin_bit_updated", "data": {"state": True}} for index in range(5)]
ONE_03 = [{**event, "name": "connectivity:spin_bit_updated"} for event in ONE]


def written(path: Path) -> list[dict[str, Any]]:
    reader = Reader(path)
    found = [event.fields for event in reader.events()]
    assert reader.take_damages() == []
    return found


DAMAGED = {
    "last record cut": (sequence(HEADER, ONE)[:-20], ONE[:-1]),
    "no separators": (sequence(HEADER, ONE).replace(b"\x1e", b""), ONE),
    "a record broken": (sequence(HEADER, ONE).replace(b'{"time":2.0', b'{"time:2.0'), ONE[:2] + ONE[3:]),
    "header lost": (b"\x1e" + sequence(HEADER, ONE).partition(b"\n\x1e")[2], ONE),
    "old header lost": (b"\x1e" + sequence(HEADER_03, ONE_03).partition(b"\n\x1e")[2], ONE_03),
    "document cut": (json.dumps(contained(HEADER, ONE)).encode()[:-30], ONE[:-1]),
    "gzip cut": (gzip.compress(sequence(HEADER, ONE), 0)[:-30], ONE[:-1]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_repair(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, left = DAMAGED[name]
    path, out = tmp_path / "in.qlog", tmp_path / "out.qlog"
    path.write_bytes(content)
    assert main(["qlog", "repair", str(path), "-o", str(out)]) == 0
    assert "repaired: " in capsys.readouterr().out
    assert written(out) == left
    assert validate_file(out).valid
    assert main(["qlog", "repair", str(out), "-o", str(path)]) == 0
    assert capsys.readouterr().out == ""


def test_split_and_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = [{**event, "group_id": group} for event in ONE for group in ("a1", "b/2", "a1")]
    header = json.loads(json.dumps(HEADER))
    del header["trace"]["common_fields"]["group_id"]
    path, folder, out = tmp_path / "in.sqlog", tmp_path / "parts", tmp_path / "all.qlog"
    path.write_bytes(sequence(header, mixed))
    assert main(["qlog", "split", str(path), "-o", str(folder)]) == 0
    parts = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [part.name for part in parts] == ["a1_client.sqlog", "b2_client.sqlog"]
    assert written(parts[1]) == [event for event in mixed if event["group_id"] == "b/2"]
    assert all(validate_file(part, strict=True).valid for part in parts)
    assert main(["qlog", "merge", *map(str, parts), "-o", str(out)]) == 0
    assert len(Reader(out).traces) == 2
    assert written(out) == [event for group in ("a1", "b/2") for event in mixed if event["group_id"] == group]
    assert validate_file(out, strict=True).valid
    assert main(["qlog", "split", str(path), "-o", str(folder)]) == 0
    assert "a1_client_2.sqlog" in capsys.readouterr().out


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new, old, rows = (tmp_path / name for name in ("new.sqlog", "old.sqlog", "rows.qlog"))
    new.write_bytes(sequence(HEADER, ONE))
    old.write_bytes(sequence(HEADER_03, events("v03", full=False)))
    rows.write_text(
        json.dumps({"qlog_version": "draft-01", "traces": [{"event_fields": ["time"], "events": []}]})
    )
    out = str(tmp_path / "out.qlog")
    assert main(["qlog", "merge", str(new), str(old), "-o", out]) == 2
    told = capsys.readouterr().err
    assert f"{old} is of an older era" in told
    assert "qlog convert --to newest" in told
    for command in ("repair", "split", "merge"):
        assert main(["qlog", command, str(rows), "-o", out]) == 2
        assert "convert it first" in capsys.readouterr().err
        assert main(["qlog", command, str(tmp_path / "missing"), "-o", out]) == 2
    assert main(["qlog", "repair", str(new), "-o", str(new)]) == 2
    assert main(["qlog", "merge", str(new), "-o", str(new)]) == 2
