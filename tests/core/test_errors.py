import pytest

from jaxrec.core import ConfigError, DataError, JaxrecError, ResourceError


@pytest.mark.parametrize(
    ("kind", "code", "builtin"),
    [(ConfigError, 2, ValueError), (DataError, 3, ValueError), (ResourceError, 4, RuntimeError)],
)
def test_each_kind_of_error_has_its_exit_code_and_is_caught_as_usual(kind, code, builtin):
    assert kind("x").exit_code == code
    assert issubclass(kind, JaxrecError)
    assert issubclass(kind, builtin)
