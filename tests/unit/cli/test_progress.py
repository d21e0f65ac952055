import pytest

from endpoint.cli.progress import format_rate, format_size, summary


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.50 kB"),
        (2_000_000, "2.00 MB"),
        (3_500_000_000, "3.50 GB"),
        (4_000_000_000_000, "4.00 TB"),
    ],
)
def test_format_size(size: int, text: str) -> None:
    assert format_size(size) == text


def test_format_rate() -> None:
    assert format_rate(1_250_000, 2.0) == "5.00 Mbit/s"
    assert format_rate(250_000_000, 1.0) == "2.00 Gbit/s"
    assert format_rate(10, 0.0) == "0.00 Mbit/s"


def test_summary() -> None:
    assert summary(1, 1_000_000, 0.5) == "1 file, 1.00 MB in 0.50 s, 16.00 Mbit/s"
    assert summary(2, 0, 1.0) == "2 files, 0 bytes in 1.00 s, 0.00 Mbit/s"
