"""A server's dealings with pre-shared keys: which offered one to take, and tickets for the next time."""

import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from endpoint.errors import AlertDescription, AlertError
from endpoint.keyring import KeyRing
from endpoint.tls.extensions import OfferedPsks
from endpoint.tls.key_schedule import EarlySchedule, Transcript, resumption_psk
from endpoint.tls.messages import NewSessionTicket
from endpoint.tls.session import MAX_TICKET_LIFETIME
from endpoint.tls.suites import CIPHER_SUITES
from endpoint.tls.tickets import TicketContent, seal_ticket

# How many identities of a ClientHello are tried: a bound on what one hello can make us decrypt.
MAX_IDENTITIES = 8


@dataclass(frozen=True, slots=True)
class SelectedPsk:
    """A session that is resumed.

    `index` is that of its identity in the ClientHello; `ticket_age` is how old, in seconds, the client says
    that the ticket is.
    """

    index: int
    ticket: bytes
    ticket_age: float
    content: TicketContent
    early: EarlySchedule


def select_psk(
    offered: OfferedPsks,
    client_hello: bytes,
    transcript: Transcript,
    recall: Callable[[bytes], TicketContent | None],
) -> SelectedPsk | None:
    """The first session that can be resumed, if there is one (RFC 9846 §4.2.11).

    `recall` gives the content of a ticket that can be resumed, else None.
    `transcript` is that of the binders, up to and without the hello, and by the hash of the cipher suite,
    which such a session shares. Raises AlertError(decrypt_error) for a wrong binder: we know the ticket,
    so the client has not the key that came with it.
    """
    for index, (identity, obfuscated_ticket_age) in enumerate(offered.identities[:MAX_IDENTITIES]):
        content = recall(identity)
        if content is None:
            continue
        early = EarlySchedule(CIPHER_SUITES[content.cipher_suite], content.psk)
        binder = early.binder(transcript.digest_with(client_hello[: -offered.binders_length]))
        if not hmac.compare_digest(binder, offered.binders[index]):
            raise AlertError(AlertDescription.DECRYPT_ERROR, "wrong PSK binder")
        return SelectedPsk(index, identity, content.client_age(obfuscated_ticket_age), content, early)
    return None


def make_tickets(
    template: TicketContent,
    count: int,
    keys: KeyRing,
    scope: bytes,
    random: Callable[[int], bytes],
) -> Iterator[NewSessionTicket]:
    """Up to `count` tickets, each with a key and a ticket_age_add of its own (RFC 9846 §4.6.1).

    In the `template` the resumption secret has the place of the key. The tickets live no longer than it
    says, and not beyond seven days from the full handshake on: so long does a chain of resumptions go on
    before there are certificates again.
    """
    suite = CIPHER_SUITES[template.cipher_suite]
    rest = int(template.established + MAX_TICKET_LIFETIME - template.issued)
    lifetime = min(template.ticket_lifetime, rest)
    if lifetime <= 0:
        return
    for number in range(count):
        nonce = bytes((number,))
        content = replace(
            template,
            psk=resumption_psk(suite, template.psk, nonce),
            ticket_lifetime=lifetime,
            ticket_age_add=int.from_bytes(random(4), "big"),
        )
        ticket = seal_ticket(keys, content, content.issued, scope)
        yield NewSessionTicket(lifetime, content.ticket_age_add, nonce, ticket, content.early_data)
