import pytest

from jaxrec.core import ConfigError, DataError, JaxrecError, ResourceError, nearest


@pytest.mark.parametrize(
    ("kind", "code", "builtin"),
    [(ConfigError, 2, ValueError), (DataError, 3, ValueError), (ResourceError, 4, RuntimeError)],
)
def test_each_kind_of_error_has_its_exit_code_and_is_caught_as_usual(kind, code, builtin):
    assert kind("x").exit_code == code
    assert issubclass(kind, JaxrecError)
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("titel", ["genres", "title"], ", did you mean 'title'?"),
        ("lr", ["learning-rate", "layers"], ", did you mean 'learning-rate'?"),
        ("learning-rate", ["lr", "mlp"], ", did you mean 'lr'?"),
        (
            "--train.bs",
            ["--train.batch-size", "--train.beta2"],
            ", did you mean '--train.batch-size'?",
        ),
        ("--train.stepz", ["--train.steps", "--eval.ks"], ", did you mean '--train.steps'?"),
        ("--rd", ["--run-dir", "--top"], ", did you mean '--run-dir'?"),
        ("xyzzy", ["genres", "title"], ""),
        # One letter abbreviates nothing.
        ("99999", ["9", "10"], ""),
        ("t", ["title", "genres"], ""),
        ("anything", [], ""),
    ],
)
def test_the_nearest_option_is_named_if_there_is_one(name, options, expected):
    assert nearest(name, options) == expected
    assert nearest(name, iter(options)) == expected
