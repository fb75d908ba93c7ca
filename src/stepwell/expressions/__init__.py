"""The small language of triggers, waits and keys: a dialect of CEL (semantics §3, design D11).

Pure: the events and the time are arguments, and neither a text nor an event can make it run long.
"""

from stepwell.expressions.bind import Bound, probe_value
from stepwell.expressions.expression import Expression, KeyResult, compile_expression, match_expression
from stepwell.expressions.values import MISSING, EvaluationError

__all__ = [
    "MISSING",
    "Bound",
    "EvaluationError",
    "Expression",
    "KeyResult",
    "compile_expression",
    "match_expression",
    "probe_value",
]
