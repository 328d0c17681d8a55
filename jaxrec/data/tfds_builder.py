"""The TFDS builder behind `tfds_store`: users and items of one `Interactions`, as array_record.

It is only imported to prepare data, because importing TFDS takes long. TensorFlow is never
imported: the file format is array_record, and no part of TFDS that needs TensorFlow is called.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from jaxrec.data.interactions import Interactions

DTYPES = {"item": np.int32, "rating": np.float32, "time": np.int64, "row": np.int64}


class LocalInfo(tfds.core.DatasetInfo):
    """Dataset information that is never looked up in the public bucket, as the data are local."""

    def initialize_from_bucket(self) -> None:
        """Do nothing."""


class InteractionsBuilder(tfds.core.GeneratorBasedBuilder):
    """Builder with two configs, "users" and "items", as TFDS has one feature specification each.

    A record of "users" is the history of one user: user_id, item, rating, time, row and the user's
    fields. A record of "items" is item_id and the item's fields. Both are in dense order.
    """

    name = "jaxrec_interactions"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS wants a list here)
        tfds.core.BuilderConfig(name="users", description="One record per user: the history."),
        tfds.core.BuilderConfig(name="items", description="One record per item: its texts."),
    ]

    def __init__(self, *, interactions: Interactions, **kwargs: Any):
        self._interactions = interactions
        super().__init__(file_format="array_record", **kwargs)

    def _fields(self) -> dict[str, np.ndarray]:
        """Return the text columns of the config, with the ID first."""
        data = self._interactions
        if self.builder_config.name == "items":
            return {"item_id": data.items.ids, **_prefixed(data.items.fields)}
        return {"user_id": data.user_ids, **_prefixed(data.user_fields)}

    def _info(self) -> tfds.core.DatasetInfo:
        features: dict[str, Any] = dict.fromkeys(self._fields(), np.str_)
        if self.builder_config.name == "users":
            features |= {
                name: tfds.features.Tensor(shape=(None,), dtype=dtype)
                for name, dtype in DTYPES.items()
            }
        return LocalInfo(
            builder=self,
            description=f"Interactions of {self._interactions.name}.",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,  # record n is user or item n
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"full": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        data = self._interactions
        texts = {name: column.tolist() for name, column in self._fields().items()}
        users = self.builder_config.name == "users"
        for number in range(data.num_users if users else data.num_items):
            record: dict[str, Any] = {name: column[number] for name, column in texts.items()}
            if users:
                rows = slice(data.offsets[number], data.offsets[number + 1])
                record |= {name: getattr(data, name)[rows] for name in DTYPES}
            yield number, record


def _prefixed(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Prefix field names, because a text field may have the name of a column, such as "item"."""
    return {f"field/{name}": column for name, column in fields.items()}
