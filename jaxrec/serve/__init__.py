"""Services over HTTP: the page on which labelers give feedback."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.serve.labeling import Compare as Compare, Labeling as Labeling
    from jaxrec.serve.labeling_app import make_app as make_app, serve as serve
    from jaxrec.serve.labeling_tasks import (
        LabelTask as LabelTask,
        Question as Question,
        read_tasks as read_tasks,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
