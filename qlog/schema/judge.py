"""The `jsonschema` package as judge over what the accept functions refuse.

It is told to pass over the parts that they accept, and to go straight to the branch of an if/then list that
applies. A test holds its verdicts against those of the package as it comes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from qlog.schema.accept import Acceptors
from qlog.schema.notation import DISPATCH, EXTENSIBLE, RENAMED, SINCE, JsonSchema


class Complaint(NamedTuple):
    """One thing that a schema does not allow.

    `keyword` is JSON Schema's, `path` leads from the judged value to the place, `schema` is the part that
    refuses. `field` is the name that is missing or too much, `type_name` the type it is missing in.
    """

    keyword: str
    path: tuple[str | int, ...]
    value: Any
    schema: JsonSchema
    field: str
    type_name: str
    message: str
    since: str


class Judge:
    """Judges values by the types of one schema file."""

    def __init__(self, schema: JsonSchema, acceptors: Acceptors) -> None:
        self._schema = schema
        self._acceptors = acceptors
        self._validators: dict[str, Validator] = {}

    def complaints(self, type_name: str, value: Any) -> list[Complaint]:
        """What is wrong with a value that should be of a type; [] if nothing."""
        validator = self._validators.get(type_name)
        if validator is None:
            validator_class = _hurried(self._schema["$defs"], self._acceptors)
            validator = self._validators[type_name] = validator_class({"$ref": f"#/$defs/{type_name}"})
        found: list[Complaint] = []
        for error in validator.iter_errors(value):
            found += self._explained(error, type_name)
        return found

    def _explained(self, error: ValidationError, root: str) -> Iterator[Complaint]:
        path = tuple(error.absolute_path)
        schema = cast("JsonSchema", error.schema)
        instance = cast("Any", error.instance)
        type_name, since = self._place(error, root)
        keyword = str(error.validator)
        fields = [str(path[-1]) if path else ""]
        if keyword == "required":
            # jsonschema has one error per missing name, and says only in its message which.
            fields = [name for name in schema["required"] if error.message.startswith(f"{name!r} ")]
            since = schema.get("properties", {}).get(fields[0], {}).get(SINCE, "")
        elif keyword == "additionalProperties":
            known = schema.get("properties", {})
            fields = [name for name in instance if name not in known]
        for field in fields:
            value, place = instance, path
            if keyword == "additionalProperties":
                value, place = value[field], (*path, field)
            yield Complaint(keyword, place, value, schema, field, type_name, error.message, since)

    def _place(self, error: ValidationError, root: str) -> tuple[str, str]:
        """The innermost named type that an error is in, and the draft its field has its form since."""
        definitions = self._schema["$defs"]
        type_name, since = root, ""
        schema: Any = definitions[root]
        for step in error.absolute_schema_path:
            if isinstance(schema, dict):
                since = schema.get(SINCE, since)
                if "then" in schema:
                    schema = schema["then"]
                while "$ref" in schema:
                    schema = definitions[schema["$ref"].rpartition("/")[2]]
                if schema.get("type") == "object":
                    type_name = schema.get("title", type_name)
            schema = schema[step]
        return type_name, since


def renamed(complaint: Complaint) -> tuple[str, str] | None:
    """(what it is called now, since which draft) if an old spelling is the cause; "" is called nothing."""
    schema = complaint.schema
    if complaint.keyword == "not" and RENAMED in schema:
        return schema[RENAMED], schema[SINCE]
    if complaint.keyword == "enum":
        for change in schema.get(RENAMED, ()):
            if change["old"] == complaint.value:
                return change["new"], change["since"]
    return None


def extensible(complaint: Complaint) -> bool:
    """Whether another schema may add this field or value."""
    return bool(complaint.schema.get(EXTENSIBLE))


def _hurried(definitions: JsonSchema, acceptors: Acceptors) -> type[Validator]:
    def ref(validator: Any, reference: str, instance: Any, _: JsonSchema) -> Iterator[ValidationError]:
        name = reference.rpartition("/")[2]
        if not acceptors.of_type(name)(instance):
            yield from validator.descend(instance, definitions[name])

    def all_of(validator: Any, branches: Any, instance: Any, schema: JsonSchema) -> Iterator[ValidationError]:
        dispatch = schema[DISPATCH]  # nothing else in the bundled schemas has an allOf
        kind = instance.get(dispatch["field"]) if isinstance(instance, dict) else None
        known = list(dispatch["types"])
        if isinstance(kind, str) and kind in known:
            index = known.index(kind)
            yield from validator.descend(instance, branches[index]["then"], schema_path=index)

    hurried = extend(Draft202012Validator, {"$ref": ref, "allOf": all_of})  # type: ignore[no-untyped-call]
    return cast("type[Validator]", hurried)
