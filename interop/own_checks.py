"""Verdicts on the cases that are ours; see `interop.checks`."""

from typing import Final

from endpoint.batch import ECN_NOT_ECT
from interop.capture import Complaint
from interop.checks import Run
from interop.dissect.model import Side

# RFC 9000 §13.4.2.2: validation fails at the first acknowledgement without counts, and §A.4 has ten packets
# tested. What is on its way until then is a window, which is far less than this.
_MARKED_AT_MOST: Final = 400


def gave_up_marking(run: Run) -> list[Complaint]:
    """ecn-bleaching: who marks packets, and hears of no mark, stops it."""
    found = []
    for side, capture in ((Side.CLIENT, run.left), (Side.SERVER, run.right)):
        marked = sum(datagram.ecn != ECN_NOT_ECT for datagram in capture.sent_by(side))
        if marked > _MARKED_AT_MOST:
            text = f"{marked} datagrams are marked though no mark ever arrives"
            found.append(Complaint(text, side=side))
    return found
