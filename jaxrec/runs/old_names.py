"""Names in run directories of earlier versions, translated when a run is opened."""

from collections.abc import Mapping
from typing import Any

# Names of systems; earliest runs name none.
SYSTEMS = {"": "generative", "generative_run": "generative"}
# Settings that every config once had, by system, and that the system never read.
_GENERATION = (
    "decode.strategy",
    "decode.normalize",
    "decode.draws",
    "decode.next_beams",
    "eval.samples",
    "eval.text_encoders",
)
_SEARCH = (*_GENERATION, "decode.beams", "decode.batch_size", "eval.valid_users")
IGNORED = {"p5": _GENERATION, "sasrec": _SEARCH, "vqrec": _SEARCH}


def current(settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate the content of any version's `config.json`.

    Args:
      settings: nested settings, with the system's name as "system" if it has one.

    Returns:
      The system's current name, and the settings without those that it never read.

    Example:
      >>> current({"system": "sasrec", "decode": {"beams": 50, "filter_seen": True}})
      ('sasrec', {'decode': {'filter_seen': True}})
    """
    name = settings.get("system", "")
    name = SYSTEMS.get(name, name)
    ignored = IGNORED.get(name, ())
    kept = {key: value for key, value in settings.items() if key != "system"}
    return name, _without(kept, ignored, "")


def _without(settings: Mapping[str, Any], ignored: tuple[str, ...], prefix: str) -> dict[str, Any]:
    return {
        name: _without(value, ignored, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in settings.items()
        if prefix + name not in ignored
    }
