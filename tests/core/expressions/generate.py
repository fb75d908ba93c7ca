"""Random expressions and events, for the property tests: any mix of types, over two events that may lack anything."""

from __future__ import annotations

import re

from hypothesis import strategies as st

NAMES = "abcd"

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, -0.0, 1.5, 2.0**70, 2**70, -(2**63), 2**64 + 1, float("inf"), float("nan")]),
    st.sampled_from(["", "a", "b", "1", "true", "é😀", "\x00\u2028\"\\'", "2024-01-01"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
)
EVENTS = st.fixed_dictionaries({"data": st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4)})

# Few values, so that equalities often hold.
PLAIN_EVENTS = st.fixed_dictionaries(
    {
        "data": st.dictionaries(
            st.sampled_from(NAMES), st.sampled_from([None, True, False, 0, 1, 1.0, "1", "a", [1], 2**70, 2.0**70])
        )
    }
)

PATHS = st.builds("{}.data.{}".format, st.sampled_from(["event", "async"]), st.sampled_from(NAMES))
LITERALS = st.sampled_from(
    ["null", "true", "false", "0", "1", "-1", "1.0", "2u", "''", "'a'", "b'a'", "[]", "{'a': 1}", "missing"]
)
CLOCKED = st.sampled_from(["now()", "now_minus('1h')"])

FUNCTIONS = """
    size({}) int({}) double({}) string({}) type({}) date({}) bool({}) uint({}) bytes({}) lowercase({}) json_parse({})
    duration({}) dyn({}) !{} -{} ({}) [{}] {{'k':{}}}
"""


def _combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(re.findall(r"\S+", "== != < <= > >= in + - * / % && || && || == =="))
    functions = st.sampled_from(re.findall(r"\S+", FUNCTIONS))
    macros = st.sampled_from(["all", "exists", "exists_one", "map", "filter"])
    return st.one_of(
        st.builds("({} {} {})".format, inner, operators, inner),
        st.builds("{} {} {}".format, inner, operators, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds(str.format, functions, inner),
        st.builds("({}).{}(x, x == {} || x)".format, inner, macros, inner),
        st.builds("({}).map(x, {}, [x, {}])".format, inner, inner, inner),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("({}).a".format, inner),
        st.builds("has(({}).b)".format, inner),
        st.builds("({}).contains({})".format, inner, inner),
        st.builds("({}).getHours()".format, inner),
    )


EXPRESSIONS = st.recursive(st.one_of(PATHS, PATHS, LITERALS, CLOCKED), _combine, max_leaves=8)

# Conditions of the kind people write for waits: equalities joined by && and ||.
COMPARISONS = st.builds(
    "{} {} {}".format, PATHS, st.sampled_from(["==", "==", "==", "!=", "<="]), st.one_of(PATHS, LITERALS)
)
CONDITIONS = st.recursive(
    st.one_of(COMPARISONS, COMPARISONS, PATHS),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["&&", "&&", "||"]), inner),
    max_leaves=5,
)
