from typing import Any

import pytest

from alexnet.config.schema import ConfigError
from alexnet.config.trust import refuse_strangers, targets_in


def test_targets_are_found_at_any_depth():
    plain = {
        "imports": ["my_lab.levels"],
        "model": {"_target_": "a.B", "parts": [{"deep": ({"_target_": "c.D"},)}]},
    }

    assert sorted(targets_in(plain)) == ["a.B", "c.D", "my_lab.levels"]


def deep(levels: int) -> Any:
    value: Any = {"_target_": "os.system"}
    for _ in range(levels):
        value = [value]
    return value


def wide() -> Any:
    value: Any = [1]
    for _ in range(40):
        value = [value, value]
    return value


@pytest.mark.parametrize(
    ("plain", "what"),
    [
        ({"a": deep(100_000)}, "nested too deeply"),
        ({"_target_": deep(100_000)}, "nested too deeply"),
        ({"a": wide()}, "too large"),
    ],
)
def test_what_is_nested_without_end_is_refused_in_one_line(plain, what):
    with pytest.raises(ConfigError, match=f"config.yaml is damaged or not a config.*{what}"):
        refuse_strangers(plain, [], "config.yaml")
