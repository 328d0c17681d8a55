"""placeholder"""

from jaxrec.systems import Config


def get_config() -> Config:
    return Config()
