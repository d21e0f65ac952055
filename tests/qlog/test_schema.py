"""The bundled schemas are what the tables say, and the fast functions agree with the judge."""

import copy
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from qlog_samples import HEADER, HEADER_03, contained, data_of

from qlog.events import IMPORTANCE, events_of_level
from qlog.schema import build
from qlog.schema.bundled import Generation, Schema, event_types, load, schemas
from qlog.schema.notation import CORE, EXTRA, PRIMITIVES

GENERATIONS: tuple[Generation, ...] = ("newest", "v03")
EVENTS = [(generation, name) for generation in GENERATIONS for name in event_types(generation)]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_files_are_what_the_tables_say(generation: Generation) -> None:
    for name, namespace in build.NAMESPACES[generation].items():
        written = (build.FOLDER / generation / f"{name}.json").read_text()
        assert written == build.text_of(namespace), "run python -m qlog.schema.build"
    assert set(schemas(generation)) == set(build.NAMESPACES[generation])


@pytest.mark.parametrize("generation", GENERATIONS)
def test_files_are_json_schemas(generation: Generation) -> None:
    for name in build.NAMESPACES[generation]:
        Draft202012Validator.check_schema(load(generation, name))


def test_every_type_of_the_tables_is_used() -> None:
    for generation, namespaces in build.NAMESPACES.items():
        used = {name for namespace in namespaces.values() for name in build.schema_of(namespace)["$defs"]}
        known = {name for namespace in namespaces.values() for name in namespace.types}
        assert known - used == set(), generation
        assert used - known <= set(PRIMITIVES), generation


def agreed(schema: Schema, type_name: str, value: Any) -> bool:
    """What the fast function, our judge and the stock validator all say of a value."""
    fast = schema.acceptors.of_type(type_name)(value)
    stock = Draft202012Validator({"$ref": f"#/$defs/{type_name}", "$defs": schema.json["$defs"]})
    judged = schema.judge.complaints(type_name, value)
    assert fast == (judged == []) == stock.is_valid(value), (value, judged)
    return fast


@pytest.mark.parametrize(("generation", "name"), EVENTS)
@pytest.mark.parametrize("full", [False, True])
def test_examples_are_valid(generation: Generation, name: str, full: bool) -> None:
    schema, type_name = event_types(generation)[name]
    assert agreed(schema, type_name, data_of(generation, name, full=full))
    event = {"time": 1, "name": name, "data": data_of(generation, name, full=full)}
    assert Draft202012Validator(schema.json).is_valid(event), "the root schema is that of an event"


@pytest.mark.parametrize(("generation", "header"), [("newest", HEADER), ("v03", HEADER_03)])
def test_headers_are_valid(generation: Generation, header: dict[str, Any]) -> None:
    main = schemas(generation)["main"]
    assert agreed(main, "QlogFileSeq", header)
    assert agreed(main, "QlogFile", contained(header, []))
    assert Draft202012Validator(main.json).is_valid(header)


NUMBERS = [-1, 0, 256, 2**64 - 1, 2**64, 1.0, 1.5]
TEXTS = ["", "7", "-7", "abc", "ab", "ABCD", "unknown", "crypto_error_0x100", "00" * 16]
OTHERS: list[object] = [
    None,
    True,
    [],
    [1],
    [[]],
    [[1, 2, 3]],
    {},
    {"frame_type": "ping"},
    {"frame_type": []},
]
ODD = st.sampled_from([*NUMBERS, *TEXTS, *OTHERS])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def mutated(draw: st.DrawFn, value: Any) -> Any:
    """One place replaced, removed, added to or renamed."""
    path = draw(st.sampled_from(places(value)))
    odd = draw(ODD)
    if not path:
        return odd
    changed = copy.deepcopy(value)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    action = draw(st.sampled_from(["replace", "remove", "add", "rename"]))
    if action == "replace" or isinstance(parent, list):
        parent[path[-1]] = odd
    elif action == "remove":
        del parent[path[-1]]
    elif action == "add":
        parent[draw(st.sampled_from(["owner", "length", "raw", "cwnd", "new_thing"]))] = odd
    else:
        parent["renamed"] = parent.pop(path[-1])
    return changed


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_fast_functions_and_judge_agree_on_mutated_examples(data: st.DataObject) -> None:
    generation, name = data.draw(st.sampled_from(EVENTS))
    schema, type_name = event_types(generation)[name]
    value = data_of(generation, name, full=data.draw(st.booleans()))
    for _ in range(data.draw(st.integers(1, 2))):
        value = mutated(cast("st.DrawFn", data.draw), value)
    agreed(schema, type_name, value)


def test_judge_says_where_and_what() -> None:
    schema, type_name = event_types("newest")["quic:packet_sent"]
    value = {"header": {"packet_number": 1}, "frames": [{"frame_type": "crypto", "offset": 0, "length": 5}]}
    found = {(one.keyword, one.path, one.field) for one in schema.judge.complaints(type_name, value)}
    assert found == {
        ("required", ("header",), "packet_type"),
        ("required", ("frames", 0), "raw"),
        ("not", ("frames", 0, "length"), "length"),
    }


def test_importance() -> None:
    assert IMPORTANCE["quic:packet_sent"] == "core"
    assert set(IMPORTANCE) == set(event_types("newest"))
    assert "quic:packet_lost" in events_of_level(CORE)
    assert "quic:timer_updated" not in events_of_level(CORE)
    assert events_of_level(EXTRA) == set(IMPORTANCE)
