"""The parts of the virtual-time pair that don't need a connection."""

import datetime as dt

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from endpoint.batch import PacketBuffer, RecvBatch
from endpoint.testing.apps import PERIOD, content
from endpoint.testing.certificates import make_chain
from endpoint.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS, Datagram
from endpoint.testing.pair import gather, seeded_bytes


def batches(sizes: list[int], limit: int = 64, ecn: list[int] | None = None) -> list[tuple[int, int]]:
    """(length, segment size) of the batches that datagrams of these sizes are handed over in."""
    marks = ecn or [0] * len(sizes)
    datagrams = [
        Datagram(bytes([number]) * size, CLIENT_ADDRESS, SERVER_ADDRESS, mark)
        for number, (size, mark) in enumerate(zip(sizes, marks, strict=True))
    ]
    result: list[tuple[int, int]] = []
    seen: list[bytes] = []

    def keep(batch: RecvBatch) -> None:
        result.append((batch.length, batch.segment_size))
        seen.extend(bytes(batch.buffer.view[start:end]) for start, end in batch.bounds())

    for batch in gather(datagrams, limit, PacketBuffer()):
        keep(batch)
    assert seen == [datagram.data for datagram in datagrams]
    return result


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1200], [(1200, 1200)]),
        ([1200, 1200, 1200], [(3600, 1200)]),
        ([1200, 1200, 300], [(2700, 1200)]),
        ([1200, 300, 1200], [(1500, 1200), (1200, 1200)]),
        ([300, 1200], [(300, 300), (1200, 1200)]),
    ],
)
def test_gather_as_receive_offload_does(sizes: list[int], expected: list[tuple[int, int]]) -> None:
    assert batches(sizes) == expected


def test_gather_obeys_its_limits() -> None:
    assert batches([1200] * 5, limit=2) == [(2400, 1200), (2400, 1200), (1200, 1200)]
    # A buffer has 65,536 bytes: 52 datagrams of 1,252.
    assert batches([1252] * 60) == [(52 * 1252, 1252), (8 * 1252, 1252)]


def test_gather_keeps_marks_apart() -> None:
    assert batches([1200] * 3, ecn=[2, 2, 3]) == [(2400, 1200), (1200, 1200)]


def test_seeded_bytes_repeat() -> None:
    first, second = seeded_bytes(1), seeded_bytes(1)
    assert first(20) == second(20)
    assert first(20) != seeded_bytes(2)(20)


@pytest.mark.parametrize("offset", [0, 1, PERIOD - 1, PERIOD, 10 * PERIOD + 77])
def test_content_is_one_pattern(offset: int) -> None:
    """Parts are the same however they are cut."""
    length = 3 * PERIOD + 5
    whole = content(offset, length)
    assert len(whole) == length
    assert whole == b"".join(content(offset + at, min(1000, length - at)) for at in range(0, length, 1000))


class TestCertificates:
    """As the interop runner makes them."""

    NOT_BEFORE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def test_leaf(self) -> None:
        chain = make_chain(self.NOT_BEFORE)
        (leaf,) = chain.certificates
        leaf.verify_directly_issued_by(chain.root)
        assert [extension.oid for extension in leaf.extensions] == [
            x509.SubjectAlternativeName.oid,
        ]
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == dt.timedelta(days=10)
        assert 350 < len(chain.chain_der[0]) < 500

    def test_nine_certificates(self) -> None:
        chain = make_chain(self.NOT_BEFORE, length=9, padding_names=20)
        assert len(chain.certificates) == 9
        for certificate, issuer in zip(
            chain.certificates, [*chain.certificates[1:], chain.root], strict=True
        ):
            certificate.verify_directly_issued_by(issuer)
        assert len(chain.chain_der[0]) > 5000
        assert 7500 < sum(map(len, chain.chain_der)) < 12_000

    def test_key_is_sec1_behind_its_parameters(self) -> None:
        chain = make_chain(self.NOT_BEFORE)
        assert chain.key_pem.startswith(b"-----BEGIN EC PARAMETERS-----")
        assert b"-----BEGIN EC PRIVATE KEY-----" in chain.key_pem
        public = chain.certificates[0].public_key()
        assert chain.private_key.public_key() == public
        pem = chain.key_pem[chain.key_pem.index(b"-----BEGIN EC PRIVATE KEY-----") :]
        loaded = load_pem_private_key(pem, None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        assert loaded.public_key() == public
