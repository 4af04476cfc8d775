"""Random values of any msgspec type, as plain data: what a client in any language could send."""

import re
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect as types

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)  # fmt: skip
"""Whatever JSON can say."""
MOST = 5  #: items of a list


def fitting(kind: Any) -> st.SearchStrategy[Any]:
    """Plain data that decodes as `kind`."""
    return _of(types.type_info(kind))


def _of(kind: Any) -> st.SearchStrategy[Any]:
    match kind:
        case types.Metadata(type=inner):
            return _of(inner)
        case types.NoneType():
            return st.none()
        case types.BoolType():
            return st.booleans()
        case types.IntType(ge=low, le=high):
            return st.integers(low, high if high is not None else 2**53)
        case types.FloatType(ge=low, le=high):
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case types.StrType():
            return _text(kind)
        case types.LiteralType(values=values):
            return st.sampled_from(values)
        case (
            types.ListType(item_type=item, max_length=most)
            | types.VarTupleType(item_type=item, max_length=most)
        ):
            return st.lists(_of(item), max_size=min(MOST, most or MOST))
        case types.DictType():
            return st.dictionaries(st.text(max_size=8), PLAIN, max_size=4)
        case types.UnionType(types=several):
            return st.one_of(*map(_of, several))
        case types.StructType():
            return _struct(kind)
        case types.AnyType():
            return PLAIN
    raise NotImplementedError(kind)


def _text(kind: types.StrType) -> st.SearchStrategy[str]:
    if kind.pattern is not None:
        return st.from_regex(re.compile(kind.pattern), fullmatch=False)
    longest = min(40, kind.max_length if kind.max_length is not None else 40)
    return st.text(min_size=kind.min_length or 0, max_size=longest)


def _struct(kind: types.StructType) -> st.SearchStrategy[dict[str, Any]]:
    needed = {field.encode_name: _of(field.type) for field in kind.fields if field.required}
    optional = {field.encode_name: _of(field.type) for field in kind.fields if not field.required}
    tag = {} if kind.tag_field is None else {kind.tag_field: kind.tag}
    return st.fixed_dictionaries(needed, optional=optional).map(lambda given: given | tag)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[dict[str, Any]]) -> Any:
    """Nearly right: one field is missing, has any value, or holds what is right elsewhere."""
    value = dict(draw(whole))
    name = draw(st.sampled_from(sorted(value)))
    if draw(st.booleans()):
        value[name] = draw(PLAIN)
    else:
        del value[name]
    return value


def encoded(codec: str, value: Any) -> bytes:
    return msgspec.json.encode(value) if codec == "json" else msgspec.msgpack.encode(value)
