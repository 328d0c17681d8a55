"""Corpora for pre-training: documents, filters, duplicates, privacy, tokenizers and token blocks.

Importing the package loads none of it; each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.data.corpora.documents import (
        END_MARK as END_MARK,
        Document as Document,
        Form as Form,
        Rejected as Rejected,
        Source as Source,
        find_files as find_files,
        read_documents as read_documents,
        read_file as read_file,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
