import pytest

from jaxrec.core import ConfigError
from jaxrec.models import TransformerConfig


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"vocab_size": 0}, ("model.vocab_size", "0")),
        ({"width": -3}, ("model.width", "-3")),
        ({"depth": 0}, ("model.depth", "0")),
        ({"num_heads": 0}, ("model.num_heads", "0")),
        ({"max_length": 0}, ("model.max_length", "0")),
        ({"num_kv_heads": 0}, ("model.num_kv_heads", "0")),
        ({"num_kv_heads": -1}, ("model.num_kv_heads", "-1")),
        ({"head_size": 0}, ("model.head_size", "0")),
        ({"mlp_width": 0}, ("model.mlp_width", "0")),
        ({"mlp_width": -8}, ("model.mlp_width", "-8")),
        ({"width": 10, "num_heads": 4}, ("model.width", "10", "model.num_heads", "4")),
        ({"num_heads": 4, "num_kv_heads": 3}, ("model.num_heads", "4", "num_kv_heads", "3")),
        ({"head_size": 5}, ("model.head_size", "5", "even")),
        ({"dropout": 1.0}, ("model.dropout", "1.0")),
        ({"dropout": -0.1}, ("model.dropout", "-0.1")),
        ({"norm_eps": -1.0}, ("model.norm_eps", "-1.0")),
        ({"rope_theta": 0.0}, ("model.rope_theta", "0.0")),
    ],
    ids=str,
)
def test_an_impossible_shape_is_refused_by_field_and_value(settings, words):
    with pytest.raises(ConfigError) as caught:
        TransformerConfig(**settings)
    # Ranges name a setting as the command line does.
    said = str(caught.value).replace("-", "_")
    for word in words:
        assert word.replace("-", "_") in said
    assert "\n" not in str(caught.value)


def test_an_odd_head_is_fine_without_rotation():
    assert TransformerConfig(head_size=5, positions="learned").head_width == 5


def test_what_is_left_out_is_derived():
    config = TransformerConfig(width=48, num_heads=4)
    assert (config.kv_heads, config.head_width, config.mlp_hidden) == (4, 12, 192)
    config = TransformerConfig(width=48, num_heads=4, num_kv_heads=2, head_size=8, mlp_width=20)
    assert (config.kv_heads, config.head_width, config.mlp_hidden) == (2, 8, 20)
