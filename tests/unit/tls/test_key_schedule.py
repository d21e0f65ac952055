"""The key schedule against the trace of RFC 8448 §3, and against HKDF written with another library."""

import hashlib
import hmac
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from endpoint.tls.extensions import ExtensionType, OfferedPsks
from endpoint.tls.key_schedule import (
    EarlySchedule,
    KeySchedule,
    Transcript,
    finished_verify_data,
    resumption_psk,
)
from endpoint.tls.messages import Certificate, CertificateVerify, ClientHello, ServerHello
from endpoint.tls.signatures import signed_content, verify
from endpoint.tls.suites import CIPHER_SUITES, TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384

SHA256 = CIPHER_SUITES[TLS_AES_128_GCM_SHA256]
SHA384 = CIPHER_SUITES[TLS_AES_256_GCM_SHA384]

# RFC 8448 §3.
CLIENT_HELLO = bytes.fromhex(
    "010000c00303cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece70000061301130313020100009100"
    "00000b0009000006736572766572ff01000100000a00140012001d0017001800190100010101020103010400230000003300260024"
    "001d002099381de560e4bd43d23d8e435a7dbafeb3c06e51c13cae4d5413691e529aaf2c002b0003020304000d0020001e04030503"
    "0603020308040805080604010501060102010402050206020202002d00020101001c00024001"
)
SERVER_HELLO = bytes.fromhex(
    "020000560303a6af06a4121860dc5e6e60249cd34c95930c8ac5cb1434dac155772ed3e2692800130100002e00330024001d0020c9"
    "828876112095fe66762bdbf7c672e156d6cc253b833df1dd69b1b04e751f0f002b00020304"
)
ENCRYPTED_EXTENSIONS = bytes.fromhex(
    "080000240022000a00140012001d00170018001901000101010201030104001c0002400100000000"
)
CERTIFICATE = bytes.fromhex(
    "0b0001b9000001b50001b0308201ac30820115a003020102020102300d06092a864886f70d01010b0500300e310c300a0603550403"
    "1303727361301e170d3136303733303031323335395a170d3236303733303031323335395a300e310c300a06035504031303727361"
    "30819f300d06092a864886f70d010101050003818d0030818902818100b4bb498f8279303d980836399b36c6988c0c68de55e1bdb8"
    "26d3901a2461eafd2de49a91d015abbc9a95137ace6c1af19eaa6af98c7ced43120998e187a80ee0ccb0524b1b018c3e0b63264d44"
    "9a6d38e22a5fda430846748030530ef0461c8ca9d9efbfae8ea6d1d03e2bd193eff0ab9a8002c47428a6d35a8d88d79f7f1e3f0203"
    "010001a31a301830090603551d1304023000300b0603551d0f0404030205a0300d06092a864886f70d01010b05000381810085aad2"
    "a0e5b9276b908c65f73a7267170618a54c5f8a7b337d2df7a594365417f2eae8f8a58c8f8172f9319cf36b7fd6c55b80f21a030151"
    "56726096fd335e5e67f2dbf102702e608ccae6bec1fc63a42a99be5c3eb7107c3c54e9b9eb2bd5203b1c3b84e0a8b2f759409ba3ea"
    "c9d91d402dcc0cc8f8961229ac9187b42b4de10000"
)
CERTIFICATE_VERIFY = bytes.fromhex(
    "0f000084080400805a747c5d88fa9bd2e55ab085a61015b7211f824cd484145ab3ff52f1fda8477b0b7abc90db78e2d33a5c141a07"
    "8653fa6bef780c5ea248eeaaa785c4f394cab6d30bbe8d4859ee511f602957b15411ac027671459e46445c9ea58c181e818e95b8c3"
    "fb0bf3278409d3be152a3da5043e063dda65cdf5aea20d53dfacd42f74f3"
)
SERVER_FINISHED = bytes.fromhex("140000209b9b141d906337fbd2cbdce71df4deda4ab42c309572cb7fffee5454b78f0718")
CLIENT_FINISHED = bytes.fromhex("14000020a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61")
CLIENT_PRIVATE = bytes.fromhex("49af42ba7f7994852d713ef2784bcbcaa7911de26adc5642cb634540e7ea5005")
EXPORTER_SECRET = bytes.fromhex("fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50")


def test_trace_of_rfc_8448() -> None:
    server_share = ServerHello.parse(SERVER_HELLO[4:]).extensions[51][4:]
    shared = X25519PrivateKey.from_private_bytes(CLIENT_PRIVATE).exchange(
        X25519PublicKey.from_public_bytes(server_share)
    )
    transcript = Transcript(SHA256, CLIENT_HELLO)
    transcript.add(SERVER_HELLO)
    schedule = KeySchedule(SHA256, shared)
    client, server = schedule.handshake_traffic_secrets(transcript.digest())
    assert client.hex() == "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"
    assert server.hex() == "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"

    transcript.add(ENCRYPTED_EXTENSIONS)
    transcript.add(CERTIFICATE)
    leaf = x509.load_der_x509_certificate(Certificate.parse(CERTIFICATE[4:]).certificate_list[0].cert_data)
    signature = CertificateVerify.parse(CERTIFICATE_VERIFY[4:])
    content = signed_content(transcript.digest(), by_server=True)
    verify(leaf.public_key(), signature.algorithm, signature.signature, content)

    transcript.add(CERTIFICATE_VERIFY)
    assert finished_verify_data(SHA256, server, transcript.digest()) == SERVER_FINISHED[4:]
    transcript.add(SERVER_FINISHED)
    client_application, server_application = schedule.application_traffic_secrets(transcript.digest())
    assert client_application.hex() == "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
    assert server_application.hex() == "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"

    assert finished_verify_data(SHA256, client, transcript.digest()) == CLIENT_FINISHED[4:]
    transcript.add(CLIENT_FINISHED)
    resumption = schedule.resumption_secret(transcript.digest())
    assert resumption.hex() == "7df235f2031d2a051287d02b0241b0bfdaf86cc856231f2d5aba46c434ec196c"
    assert schedule.export("test", b"context", 20) == reference_export(EXPORTER_SECRET, hashes.SHA256())


# RFC 8448 §4, which resumes the connection of §3 with 0-RTT: the ClientHello up to its binders.
RESUMED_HELLO_PREFIX = bytes.fromhex(
    "010001fc03031bc3ceb6bbe39cff938355b5a50adb6db21b7a6af649d7b4bc419d7876487d95000006130113031302010001cd00"
    "00000b0009000006736572766572ff01000100000a00140012001d00170018001901000101010201030104003300260024001d00"
    "20e4ffb68ac05f8d96c99da26698346c6be16482badddafe051a66b4f18d668f0b002a0000002b0003020304000d0020001e0403"
    "05030603020308040805080604010501060102010402050206020202002d00020101001c000240010015005700000000000000"
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000000000000000000000000000000000000002900dd00b800b22c035d829359ee5ff7af4ec900000000"
    "262a6494dc486d2c8a34cb33fa90bf1b0070ad3c498883c9367c09a2be785abc55cd226097a3a982117283f82a03a143efd3ff5d"
    "d36d64e861be7fd61d2827db279cce145077d454a3664d4e6da4d29ee03725a6a4dafcd0fc67d2aea70529513e3da2677fa5906c"
    "5b3f7d8f92f228bda40dda721470f9fbf297b5aea617646fac5c03272e970727c621a79141ef5f7de6505e5bfbc388e933436940"
    "93934ae4d357fad6aacb"
)
BINDER = bytes.fromhex("3add4fb2d8fdf822a0ca3cf7678ef5e88dae990141c5924d57bb6fa31b9e5f9d")
RESUMPTION_SECRET = bytes.fromhex("7df235f2031d2a051287d02b0241b0bfdaf86cc856231f2d5aba46c434ec196c")
RESUMED_SHARED_SECRET = bytes.fromhex("f44194756ff9ec9d25180635d66ea6824c6ab3bf179977be37f723570e7ccb2e")


def test_resumption_trace_of_rfc_8448() -> None:
    psk = resumption_psk(SHA256, RESUMPTION_SECRET, b"\0\0")
    assert psk.hex() == "4ecd0eb6ec3b4d87f5d6028f922ca4c5851a277fd41311c9e62d2c9492e1c4f3"
    early = EarlySchedule(SHA256, psk)
    assert len(RESUMED_HELLO_PREFIX) == 477
    nothing = Transcript(SHA256, b"")
    assert early.binder(nothing.digest_with(RESUMED_HELLO_PREFIX)) == BINDER

    client_hello = RESUMED_HELLO_PREFIX + b"\0\x21\x20" + BINDER
    offered = OfferedPsks.parse(ClientHello.parse(client_hello[4:]).extensions[ExtensionType.PRE_SHARED_KEY])
    ((ticket, age),) = offered.identities
    assert (len(ticket), age, offered.binders) == (178, 0xFAD6AACB, (BINDER,))
    assert client_hello[: -offered.binders_length] == RESUMED_HELLO_PREFIX

    secret = early.client_early_traffic_secret(Transcript(SHA256, client_hello).digest())
    assert secret.hex() == "3fbbe6a60deb66c30a32795aba0eff7eaa10105586e7be5c09678d63b6caab62"

    # From here on with the hashes of the trace, up to the ServerHello and the server's Finished.
    schedule = KeySchedule(SHA256, RESUMED_SHARED_SECRET, early)
    assert [
        each.hex()
        for each in schedule.handshake_traffic_secrets(
            bytes.fromhex("f736cb34fe25e701551bee6fd24c1cc7102a7daf9405cb15d97aafe16f757d03")
        )
    ] == [
        "2faac08f851d35fea3604fcb4de82dc62c9b164a70974d0462e27f1ab278700f",
        "fe927ae271312e8bf0275b581c54eef020450dc4ecffaa05a1a35d27518e7803",
    ]
    assert [
        each.hex()
        for each in schedule.application_traffic_secrets(
            bytes.fromhex("b0aeffc46a2cfe33114e6fd7d51f9f04b1ca3c497dab08934a774a9d9ad7dbf3")
        )
    ] == [
        "2abbf2b8e381d23dbebe1dd2a7d16a8bf484cb4950d23fb7fb7fa8547062d9a1",
        "cc21f1bf8feb7dd5fa505bd9c4b468a9984d554a993dc49e6d285598fb672691",
    ]
    exporter = bytes.fromhex("3fd93d4ffddc98e64b14dd107aedf8ee4add23f4510f58a4592d0b201bee56b4")
    assert schedule.export("test", b"context", 20) == reference_export(exporter, hashes.SHA256())


def reference_label(
    algorithm: hashes.HashAlgorithm, secret: bytes, label: bytes, context: bytes, length: int
) -> bytes:
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes((len(label),)) + label + bytes((len(context),)) + context
    return HKDFExpand(algorithm, length, info).derive(secret)


def reference_export(exporter_secret: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    """TLS-Exporter("test", "context", 20) as RFC 9846 §7.5 writes it."""
    empty = hashlib.new(algorithm.name).digest()
    secret = reference_label(algorithm, exporter_secret, b"test", empty, algorithm.digest_size)
    return reference_label(
        algorithm, secret, b"exporter", hashlib.new(algorithm.name, b"context").digest(), 20
    )


def test_sha384_against_another_implementation() -> None:
    algorithm = hashes.SHA384()
    empty = hashlib.sha384().digest()
    digests = [hashlib.sha384(bytes((i,))).digest() for i in range(3)]

    def derive(secret: bytes, label: bytes, digest: bytes) -> bytes:
        return reference_label(algorithm, secret, label, digest, 48)

    early = hmac.digest(bytes(48), bytes(48), "sha384")
    handshake = hmac.digest(derive(early, b"derived", empty), b"shared", "sha384")
    main = hmac.digest(derive(handshake, b"derived", empty), bytes(48), "sha384")

    schedule = KeySchedule(SHA384, b"shared")
    assert schedule.handshake_traffic_secrets(digests[0]) == (
        derive(handshake, b"c hs traffic", digests[0]),
        derive(handshake, b"s hs traffic", digests[0]),
    )
    assert schedule.application_traffic_secrets(digests[1]) == (
        derive(main, b"c ap traffic", digests[1]),
        derive(main, b"s ap traffic", digests[1]),
    )
    assert schedule.resumption_secret(digests[2]) == derive(main, b"res master", digests[2])
    assert schedule.export("test", b"context", 20) == reference_export(
        derive(main, b"exp master", digests[1]), algorithm
    )
    resumed = hmac.digest(bytes(48), b"key" * 16, "sha384")
    early_schedule = EarlySchedule(SHA384, b"key" * 16)
    binder_key = reference_label(algorithm, derive(resumed, b"res binder", empty), b"finished", b"", 48)
    assert early_schedule.binder(digests[0]) == hmac.digest(binder_key, digests[0], "sha384")
    assert early_schedule.client_early_traffic_secret(digests[0]) == derive(
        resumed, b"c e traffic", digests[0]
    )
    resumed = hmac.digest(derive(resumed, b"derived", empty), b"shared", "sha384")
    assert KeySchedule(SHA384, b"shared", early_schedule).handshake_traffic_secrets(digests[0]) == (
        derive(resumed, b"c hs traffic", digests[0]),
        derive(resumed, b"s hs traffic", digests[0]),
    )
    assert resumption_psk(SHA384, digests[2], b"nonce") == reference_label(
        algorithm, digests[2], b"resumption", b"nonce", 48
    )
    key = reference_label(algorithm, early, b"finished", b"", 48)
    assert finished_verify_data(SHA384, early, digests[0]) == hmac.digest(key, digests[0], "sha384")


@pytest.mark.parametrize("suite", CIPHER_SUITES.values(), ids=lambda suite: suite.name)
def test_transcript_with_a_retry(suite: Any) -> None:
    transcript = Transcript(suite, b"first hello")
    transcript.replace_client_hello()
    transcript.add(b"retry")
    first = hashlib.new(suite.hash_name, b"first hello").digest()
    synthetic = b"\xfe\0\0" + bytes((suite.hash_length,)) + first
    assert transcript.digest() == hashlib.new(suite.hash_name, synthetic + b"retry").digest()
    with_more = transcript.digest_with(b"more")
    assert transcript.digest() != with_more
    transcript.add(b"more")
    assert transcript.digest() == with_more
    assert transcript.digest() == hashlib.new(suite.hash_name, synthetic + b"retrymore").digest()
