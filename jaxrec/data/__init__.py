"""Data: sources, `Interactions`, filters, splits, TFDS datasets and training pipelines.

NumPy only: pyarrow, TFDS and Grain are imported where they are used.
"""

from jaxrec.data.amazon import read_amazon
from jaxrec.data.buckets import Buckets, bucket_lengths, bucketed_batches
from jaxrec.data.describe import describe
from jaxrec.data.filters import k_core, keep_users, sample_users
from jaxrec.data.interactions import Interactions, ItemTable
from jaxrec.data.load import DATASETS, Known, load, read
from jaxrec.data.movies import read_double_colon, read_movielens_100k, read_movielens_csv
from jaxrec.data.packing import Packing, pack, packed_batches
from jaxrec.data.pipeline import Windows, pad_left, padded_batches, training_sequences
from jaxrec.data.prefixes import Prefixes
from jaxrec.data.recbole import read_recbole
from jaxrec.data.sequences import read_sequences
from jaxrec.data.splits import (
    TIE_RULE,
    RowSplit,
    Split,
    TieShare,
    TimeSplit,
    global_time_split,
    leave_one_out,
    order_ties,
    random_split,
    tie_share,
    time_quantile,
)
from jaxrec.data.tables import Columns, read_table
from jaxrec.data.tfds_store import item_sequences, open_data_source, prepare, read_prepared

__all__ = [
    "DATASETS",
    "TIE_RULE",
    "Buckets",
    "Columns",
    "Interactions",
    "ItemTable",
    "Known",
    "Packing",
    "Prefixes",
    "RowSplit",
    "Split",
    "TieShare",
    "TimeSplit",
    "Windows",
    "bucket_lengths",
    "bucketed_batches",
    "describe",
    "global_time_split",
    "item_sequences",
    "k_core",
    "keep_users",
    "leave_one_out",
    "load",
    "open_data_source",
    "order_ties",
    "pack",
    "packed_batches",
    "pad_left",
    "padded_batches",
    "prepare",
    "random_split",
    "read",
    "read_amazon",
    "read_double_colon",
    "read_movielens_100k",
    "read_movielens_csv",
    "read_prepared",
    "read_recbole",
    "read_sequences",
    "read_table",
    "sample_users",
    "tie_share",
    "time_quantile",
    "training_sequences",
]
