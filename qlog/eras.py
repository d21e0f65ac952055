"""Which generation of qlog a file is of, and which drafts its traces claim."""

import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any


class Era(Enum):
    """Generations of the main schema; the value is what reports call it."""

    DRAFT_00 = "draft-00"
    DRAFT_01 = "draft-01"
    V03 = "0.3"
    V04 = "0.4"
    # file_schema in the header, but events of a draft before the newest
    SCHEMA_DRAFT = "file_schema"
    NEWEST = "newest"
    UNKNOWN = "unknown"

    @property
    def has_rows(self) -> bool:
        """Events are arrays whose columns `event_fields` names."""
        return self in {Era.DRAFT_00, Era.DRAFT_01}

    @property
    def has_file_schema(self) -> bool:
        """The header has `file_schema` where older files have `qlog_version`."""
        return self in {Era.SCHEMA_DRAFT, Era.NEWEST}


# The drafts whose texts the bundled schemas follow. Files that claim an older one are of SCHEMA_DRAFT.
NEWEST_DRAFT = {"quic": 14, "http3": 13, "http": 13}

# 0.4 stood in quic-05 to quic-07; only the lowest allows all that any of them allowed.
DRAFTS_OF_04 = {"main": 6, "quic": 5, "http3": 3, "http": 3}

_VERSIONS = {
    "draft-00": Era.DRAFT_00,
    "draft-01": Era.DRAFT_01,
    "draft-02-wip": Era.DRAFT_01,
    "draft-02": Era.V03,
    "draft-02-rc1": Era.V03,
    "qlog-03-wip": Era.V03,
    "0.1": Era.DRAFT_01,
    "0.2": Era.V03,
    "0.3": Era.V03,
    "0.4": Era.V04,
}

_EVENT_SCHEMA = re.compile(r"urn:ietf:params:qlog:events:([a-z0-9_]+?)(?:-(\d{1,4}))?(?:#.*)?")


def claimed_drafts(event_schemas: Iterable[object]) -> dict[str, int]:
    """Draft number by namespace, of the schema URIs that carry one."""
    claimed: dict[str, int] = {}
    for uri in event_schemas:
        match = _EVENT_SCHEMA.fullmatch(uri) if isinstance(uri, str) else None
        if match and match[2]:
            claimed[match[1]] = int(match[2])
    if "quic" in claimed:
        # The main schema has no number in any URI. The drafts came out together, it being one ahead.
        claimed["main"] = claimed["quic"] + 1
    return claimed


def predates(since: str, drafts: Mapping[str, int]) -> bool:
    """Whether the claimed drafts are older than one such as "quic-12"."""
    namespace, _, number = since.rpartition("-")
    return namespace in drafts and number.isdigit() and drafts[namespace] < int(number)


def era_of_header(header: Mapping[str, Any]) -> Era:
    """The era that a file's first object claims; UNKNOWN if it is the header of no qlog file."""
    if isinstance(header.get("file_schema"), str):
        return Era.NEWEST
    version = header.get("qlog_version")
    if isinstance(version, str):
        return _VERSIONS.get(version.lower(), Era.UNKNOWN)
    return Era.UNKNOWN


def era_of_trace(file_era: Era, trace: Mapping[str, Any], drafts: Mapping[str, int]) -> Era:
    """The era of one trace, which may differ from what the file's header says."""
    if "event_fields" in trace:
        return file_era if file_era.has_rows else Era.DRAFT_01
    if file_era is Era.NEWEST and any(
        number < NEWEST_DRAFT[name] for name, number in drafts.items() if name in NEWEST_DRAFT
    ):
        return Era.SCHEMA_DRAFT
    return file_era


def era_of_event(name: str) -> Era:
    """A guess for files that have lost their header."""
    namespace = name.partition(":")[0]
    if namespace in {"quic", "http3", "loglevel"}:
        return Era.NEWEST
    if namespace in {"transport", "recovery", "connectivity", "security", "http", "qpack", "generic"}:
        return Era.V03
    return Era.UNKNOWN
