"""GLRec: a language model that reads paths of the graph of who liked what."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.systems.glrec.config import (
        GlrecConfig as GlrecConfig,
        GlrecEvalConfig as GlrecEvalConfig,
        PathsConfig as PathsConfig,
    )
    from jaxrec.systems.glrec.encoding import PathRows as PathRows, encode_paths as encode_paths
    from jaxrec.systems.glrec.graph import (
        BehaviorGraph as BehaviorGraph,
        build_graph as build_graph,
        edge_kinds as edge_kinds,
    )
    from jaxrec.systems.glrec.paths import (
        MetaPath as MetaPath,
        Path as Path,
        PathFinder as PathFinder,
        Question as Question,
        jaccard as jaccard,
        path_text as path_text,
    )
    from jaxrec.systems.glrec.questions import user_texts as user_texts, words_of as words_of
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
