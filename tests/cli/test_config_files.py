"""Config files that do not return what they must: one short line with the file and the fix."""

import pytest

from jaxrec.cli import load_config_file, load_sweep_file
from jaxrec.core import ConfigError

GENERATIVE = "from jaxrec.systems.generative import Config\nfrom jaxrec.train import TrainConfig\n"
RETURN = "get_config() must return a config, such as Config() of jaxrec.systems.generative, got "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def get_config(): pass", f": {RETURN}None"),
        ("def get_config(): return 3", f": {RETURN}3"),
        ("def get_config(): return {'train': 3}", f": {RETURN}{{'train': 3}}"),
        ("get_config = 3", ": get_config must be a function that returns a config, got 3"),
        (
            "get_config = Config()",
            ": get_config must be a function that returns a config, got Config(",
        ),
        ("def get_config(): return Config", ": the config is the class Config; write Config()"),
        (
            "async def get_config(): return Config()",
            "a plain function that returns a config; write",
        ),
        ("def get_config(): yield Config()", "returns a config; write it without yield"),
        ("def get_config(x): return Config()", "missing 1 required positional argument: 'x'"),
        (
            "def get_config(): return Config(decode=None)",
            ":3: --decode must be DecodeConfig, got None",
        ),
        ("def get_config(): return Config(train=3)", ":3: --train must be TrainConfig, got 3"),
        (
            "def get_config(): return Config(decode=TrainConfig())",
            ":3: --decode must be DecodeConfig, got TrainConfig(",
        ),
        (
            "def get_config(): return Config(train=TrainConfig)",
            ":3: --train is the class TrainConfig; write TrainConfig()",
        ),
        (
            "from jaxrec.systems.p5 import P5Config\n"
            "def get_config(): return P5Config(decode=None)",
            ":4: --decode must be SearchConfig, got None",
        ),
        (
            "from jaxrec.systems.sasrec import SasrecRunConfig\n"
            "def get_config(): return SasrecRunConfig(model=None)",
            ":4: --model must be SasrecConfig, got None",
        ),
        (
            "from jaxrec.systems.vqrec import VqRecConfig\n"
            "def get_config(): return VqRecConfig(model=None)",
            ":4: --model must be SasrecConfig, got None",
        ),
    ],
)
def test_what_is_no_config_is_named_in_one_line(tmp_path, text, said):
    path = tmp_path / "mine.py"
    path.write_text(GENERATIVE + text)
    with pytest.raises(ConfigError) as caught:
        load_config_file(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and said in message
    assert "\n" not in message and len(message) < len(str(path)) + 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("get_sweep = 4", "get_sweep must be a function that returns variants by name, got 4"),
        ("async def get_sweep(): return {}", "returns variants by name; write it without async"),
        ("def get_sweep(): return {'a': Config}", "variant 'a': the config is the class Config"),
    ],
)
def test_what_is_no_sweep_is_named_in_one_line(tmp_path, text, said):
    path = tmp_path / "mine.py"
    path.write_text(GENERATIVE + text)
    with pytest.raises(ConfigError, match=f"^{path}.*{said}"):
        load_sweep_file(path)
