"""Trained models in use: one object that recommends, services over HTTP, the page for labelers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxrec.serve.app import (
        ServiceOptions as ServiceOptions,
        ServiceState as ServiceState,
        as_request_error as as_request_error,
        make_service as make_service,
        read_keys as read_keys,
    )
    from jaxrec.serve.batch import Batch as Batch, recommend_all as recommend_all
    from jaxrec.serve.batching import (
        Batcher as Batcher,
        BatchingOptions as BatchingOptions,
        Closed as Closed,
        Engine as Engine,
        Job as Job,
        QueueFull as QueueFull,
    )
    from jaxrec.serve.catalogues import (
        ServedCatalogue as ServedCatalogue,
        as_catalogue_error as as_catalogue_error,
        read_catalogue_file as read_catalogue_file,
    )
    from jaxrec.serve.completions import (
        TextService as TextService,
        completions_router as completions_router,
    )
    from jaxrec.serve.gate import (
        Gate as Gate,
        describe as describe,
        log_line as log_line,
        log_ready as log_ready,
    )
    from jaxrec.serve.history_cache import (
        CacheCounts as CacheCounts,
        CachedPart as CachedPart,
        CachedPrefix as CachedPrefix,
        HistoryCache as HistoryCache,
        cache_key as cache_key,
    )
    from jaxrec.serve.labeling import Compare as Compare, Labeling as Labeling
    from jaxrec.serve.labeling_app import listen as listen, make_app as make_app, serve as serve
    from jaxrec.serve.labeling_tasks import (
        LabelTask as LabelTask,
        Question as Question,
        read_tasks as read_tasks,
    )
    from jaxrec.serve.lists import Lists as Lists
    from jaxrec.serve.metrics import Metrics as Metrics
    from jaxrec.serve.names import ItemNames as ItemNames
    from jaxrec.serve.openai_requests import (
        Asked as Asked,
        read_chat as read_chat,
        read_completion as read_completion,
    )
    from jaxrec.serve.opening import open_recommender as open_recommender
    from jaxrec.serve.process import (
        DrainOptions as DrainOptions,
        ServiceServer as ServiceServer,
        run_service as run_service,
    )
    from jaxrec.serve.recommend_engine import (
        RecommendEngine as RecommendEngine,
        RecommendRow as RecommendRow,
        RecommendShapes as RecommendShapes,
    )
    from jaxrec.serve.recommend_requests import (
        ExplainBody as ExplainBody,
        RecommendBody as RecommendBody,
        RecommendLimits as RecommendLimits,
        read_explain as read_explain,
        read_recommend as read_recommend,
    )
    from jaxrec.serve.recommend_routes import (
        RecommendService as RecommendService,
        recommend_router as recommend_router,
    )
    from jaxrec.serve.recommender import Histories as Histories, OpenRecommender as OpenRecommender
    from jaxrec.serve.request_errors import (
        RequestError as RequestError,
        parse_body as parse_body,
        read_body as read_body,
        to_body as to_body,
    )
    from jaxrec.serve.shards import BatchOptions as BatchOptions
    from jaxrec.serve.text_engine import (
        Bucket as Bucket,
        Piece as Piece,
        TextEngine as TextEngine,
        TextRow as TextRow,
        TextShapes as TextShapes,
    )
    from jaxrec.serve.together import Together as Together
    from jaxrec.serve.user_files import read_users as read_users
    from jaxrec.serve.workers import Worker as Worker, run_workers as run_workers
    from jaxrec.serve.written_text import (
        TextWriter as TextWriter,
        TokenTexts as TokenTexts,
        WrittenToken as WrittenToken,
    )
else:
    from jaxrec.core import attach

    __getattr__, __dir__, __all__ = attach(__name__)
