"""Trained runs in use: one object that recommends, and the page for labelers over HTTP."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.serve.batch import (
        Batch as Batch,
        BatchOptions as BatchOptions,
        recommend_all as recommend_all,
    )
    from jaxrec.serve.labeling import Compare as Compare, Labeling as Labeling
    from jaxrec.serve.labeling_app import make_app as make_app, serve as serve
    from jaxrec.serve.labeling_tasks import (
        LabelTask as LabelTask,
        Question as Question,
        read_tasks as read_tasks,
    )
    from jaxrec.serve.lists import Lists as Lists
    from jaxrec.serve.names import ItemNames as ItemNames
    from jaxrec.serve.opening import open_recommender as open_recommender
    from jaxrec.serve.recommender import Histories as Histories, OpenRecommender as OpenRecommender
    from jaxrec.serve.user_files import read_users as read_users
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
