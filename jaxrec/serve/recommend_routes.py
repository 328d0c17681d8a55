"""The routes of the recommendation service.

    POST /v1/recommend   lists for users of the run, or after histories
    POST /v1/explain     which items of a history speak for an item
    GET  /v1/items       items whose ID or title has a text, for the page
    GET  /v1/catalogue   the version of the catalogue
    PUT  /v1/catalogue   another version, from a file; needs a key of an administrator
    GET  /               a page that shows recommendations

All lists come from the compiled programs of `RecommendEngine`.
"""

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from jaxrec.core import ConfigError, DataError, ResourceError, shown_value
from jaxrec.runs import Asked
from jaxrec.serve.app import ServiceState
from jaxrec.serve.batching import Batcher, Closed, QueueFull
from jaxrec.serve.catalogues import ServedCatalogue, as_catalogue_error, read_catalogue_file
from jaxrec.serve.lists import Lists
from jaxrec.serve.recommend_engine import Found, RecommendEngine, RecommendRow
from jaxrec.serve.recommend_requests import (
    RecommendBody,
    RecommendLimits,
    read_explain,
    read_recommend,
)
from jaxrec.serve.request_errors import RequestError, to_body
from jaxrec.serve.together import Together

# Length of a list unless a request says another one.
_TOP = 10
# Bytes of a body whose names may be looked up at once; a change of threads costs more than those.
_SMALL = 4096
# Items that a search for the page returns, and most characters of the text that is searched.
_FOUND, _LONGEST_QUERY = 20, 500
# Nothing is loaded from elsewhere, and the page cannot be put into a frame of another one.
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecommendService:
    """A run that is served.

    Attributes:
      engine: the model on the device, and the present catalogue.
      batcher: its queue.
      state: of the whole service.
      limits: of one request.
      catalogues: directory of files of catalogues; None if the catalogue cannot be swapped.
      admin_keys: SHA-256 digests of the keys that may swap it; they are among the service's keys.
      together: the other processes of the service, which take a new catalogue too; None for none.
    """

    engine: RecommendEngine
    batcher: Batcher[RecommendRow]
    state: ServiceState
    limits: RecommendLimits = RecommendLimits()
    catalogues: Path | None = None
    admin_keys: tuple[bytes, ...] = ()
    together: Together | None = None


def recommend_router(service: RecommendService) -> APIRouter:
    """Make the routes of a run, for `make_service`.

    Args:
      service: the run, its queue and its limits.

    Example:
      >>> from jaxrec.testing import four_films
      >>> engine = RecommendEngine(ServedCatalogue.of(four_films(), "first", (1, 8, 64)))
      >>> batcher = Batcher(engine)
      >>> state = ServiceState(lambda: batcher.ready)
      >>> service = RecommendService(engine=engine, batcher=batcher, state=state)
      >>> recommend_router(service).routes[0].path
      '/v1/recommend'
    """
    router = APIRouter()
    answers = _Answers(service)

    @router.post("/v1/recommend")
    async def recommend(request: Request) -> Response:
        return await answers.recommend(request)

    @router.post("/v1/explain")
    async def explain(request: Request) -> Response:
        return await answers.explain(request)

    @router.get("/v1/items")
    async def items(request: Request) -> Response:
        return await answers.items(request)

    @router.get("/v1/catalogue")
    async def catalogue() -> Response:
        return _reply(_facts(service.engine.catalogue))

    @router.put("/v1/catalogue")
    async def swap(request: Request) -> Response:
        return await answers.swap(request)

    page = resources.files(__package__).joinpath("demo.html").read_text("utf-8")

    @router.get("/")
    async def show() -> HTMLResponse:
        return HTMLResponse(page, headers=_PAGE_HEADERS)

    return router


class _Answers:
    """Answers requests of all routes."""

    def __init__(self, service: RecommendService) -> None:
        self._service, self._engine = service, service.engine
        # Names are looked up beside the loop of events, which they would block.
        self._naming = ThreadPoolExecutor(1, thread_name_prefix="names")
        self._swapping = asyncio.Lock()

    async def recommend(self, request: Request) -> Response:
        body = await self._service.state.body(request)
        catalogue = self._engine.catalogue

        def check() -> RecommendBody:
            return read_recommend(body, self._service.limits)

        def prepare() -> tuple[Asked, int, int]:
            top = min(_TOP, self._engine.most_top) if read.top is None else read.top
            length = self._engine.length_of(top, read.beams)
            try:
                asked = catalogue.model.asked(
                    read.users, read.histories, allowed=read.allowed, exclude=read.exclude
                )
            except ConfigError as error:
                raise RequestError(str(error)) from error
            return asked, top, length

        given = request.headers.get("content-length", "")
        small = given.isdigit() and int(given[:20]) <= _SMALL
        read = check() if small else await self._beside(check)
        quick = small and _known(read, catalogue)
        asked, top, length = prepare() if quick else await self._beside(prepare)
        items, scores = await self._found(
            catalogue,
            asked,
            length,
            seen=read.seen,
            diversity=read.diversity,
            client=request.scope["state"]["client"],
        )
        items, scores = items[:, :top], scores[:, :top]
        if read.diversity:
            # The beginning of a diverse list is diverse; it is shown with the best items first.
            order = np.argsort(-scores, axis=1, kind="stable")
            items, scores = (np.take_along_axis(x, order, axis=1) for x in (items, scores))
        model = catalogue.model
        lists = Lists.of(
            model.names,
            asked.users,
            items,
            scores,
            model.ranker.meaning,
        )
        request.scope["state"]["facts"].update(rows=len(asked), catalogue=catalogue.version)
        return _reply(
            {
                "id": request.scope["state"]["request_id"],
                "catalogue": catalogue.version,
                "meaning": lists.meaning,
                "lists": [_list(lists, row) for row in range(len(lists))],
            }
        )

    async def explain(self, request: Request) -> Response:
        body = await self._service.state.body(request)
        catalogue, length = self._engine.catalogue, self._engine.lengths[0]
        names = catalogue.model.names

        def prepare() -> tuple[np.ndarray, np.ndarray, str | None]:
            read = read_explain(body, self._service.limits)
            try:
                history = names.numbers(read.history, "history")
                return history, names.numbers([read.item], "item"), read.user
            except ConfigError as error:
                raise RequestError(str(error)) from error

        history, item, user = await self._beside(prepare)
        places, rows = range(len(history)), len(history) + 1
        asked = Asked(
            histories=[history, *(np.delete(history, place) for place in places)],
            users=None if user is None else [user] * rows,
            allowed=[item] * rows,
        )
        # A search that is limited to the item gives its score.
        _, scores = await self._found(catalogue, asked, length, seen=True)
        falls = scores[0, 0] - scores[1:, 0]
        order = np.argsort(-falls, kind="stable")
        return _reply(
            {
                "id": request.scope["state"]["request_id"],
                "catalogue": catalogue.version,
                "meaning": "how far the score falls without this item of the history",
                "history": [
                    {
                        "item": str(names.ids[history[place]]),
                        "title": str(names.labels[history[place]]),
                        "fall": float(falls[place]),
                    }
                    for place in order.tolist()
                ],
            }
        )

    async def items(self, request: Request) -> Response:
        given = request.query_params
        for name, _ in given.multi_items():
            if name != "query" or len(given.getlist(name)) > 1:
                raise RequestError(
                    f"items are searched by one parameter query, got {shown_value(str(given))}",
                    param=name,
                )
        if len(given.get("query", "")) > _LONGEST_QUERY:
            raise RequestError(f"query has more than {_LONGEST_QUERY} characters", param="query")
        wanted = given.get("query", "").strip().lower()
        catalogue = self._engine.catalogue
        found = await self._beside(lambda: _search(catalogue, wanted))
        return _reply({"catalogue": catalogue.version, "items": found})

    async def swap(self, request: Request) -> Response:
        self._check_admin(request)
        body = await self._service.state.body(request)
        for name in body:
            if name != "file":
                raise RequestError("a new version is asked for by file alone", param="file")
        directory = self._service.catalogues
        if directory is None:
            raise RequestError(
                "this service does not swap its catalogue; start it with --catalogue-dir",
                status=403,
            )
        async with self._swapping, self._alone():
            before = self._engine.catalogue
            try:
                content = await asyncio.to_thread(
                    lambda: read_catalogue_file(directory, body.get("file"))
                )
                after = await asyncio.to_thread(lambda: before.changed(content))
                await self._probe(after)
            except (QueueFull, Closed):
                raise
            except Exception as error:
                raise as_catalogue_error(error) from error
            # One assignment: a request has read the old version or reads the new one.
            self._engine.catalogue = after
            await self._spread(content)
        request.scope["state"]["facts"].update(catalogue=after.version, before=before.version)
        return _reply(_facts(after) | {"before": before.version})

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other processes from swapping meanwhile."""
        together = self._service.together
        if together is None:
            yield
            return
        alone = together.alone()
        await asyncio.to_thread(alone.__enter__)
        try:
            yield
        finally:
            alone.__exit__(None, None, None)

    async def _spread(self, content: bytes) -> None:
        """Let all other processes take a catalogue, and wait until they have."""
        together = self._service.together
        if together is None:
            return

        def spread() -> None:
            together.publish(content)
            together.wait()

        try:
            await asyncio.to_thread(spread)
        except ResourceError as error:
            raise RequestError(str(error), status=503, headers={"retry-after": "5"}) from error

    async def _probe(self, catalogue: ServedCatalogue) -> None:
        """Run every form once: scores that are not numbers, say, refuse the version."""
        for row in self._engine.samples(catalogue, self._engine.lengths[0]):
            pending = _Pending(1)
            row.deliver = functools.partial(pending.deliver, 0)
            self._service.batcher.submit([row])
            ((_, scores),) = await pending.wait()
            if not np.isfinite(scores[0]):
                raise DataError("the model finds no item in it whose score is a number")

    def _check_admin(self, request: Request) -> None:
        key = request.headers.get("authorization", "").partition(" ")[2].strip()
        digest = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        if digest not in self._service.admin_keys:
            raise RequestError(
                "only an administrator swaps the catalogue; send a key of --admin-key-file",
                status=403,
                code="not_an_administrator",
            )

    async def _beside(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._naming, work)

    async def _found(
        self, catalogue: ServedCatalogue, asked: Asked, length: int, **options: Any
    ) -> Found:
        """Put the rows of a request into the queue, and wait for all of them."""
        pending = _Pending(len(asked))
        rows = self._engine.rows_of(catalogue, asked, length, pending.deliver, **options)
        self._service.batcher.submit(rows)
        try:
            found = await pending.wait()
        except BaseException:
            self._service.batcher.cancel(rows)
            raise
        return np.stack([items for items, _ in found]), np.stack([scores for _, scores in found])


class _Pending:
    """The rows of a request that have no answer yet. Filled by the thread of the device."""

    def __init__(self, rows: int) -> None:
        self._found: list[Found | None] = [None] * rows
        self._left = rows
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[list[Any]] = self._loop.create_future()

    def deliver(self, number: int, found: Found | Exception) -> None:
        if not isinstance(found, Exception):
            self._found[number] = found
            self._left -= 1
            if self._left:
                return
        # The loop is closed if the process ends before its requests do.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish, found)

    def _finish(self, found: Found | Exception) -> None:
        if self._done.done():
            return
        if isinstance(found, Exception):
            self._done.set_exception(found)
        else:
            self._done.set_result(self._found)

    async def wait(self) -> list[Found]:
        return await self._done


def _known(read: RecommendBody, catalogue: ServedCatalogue) -> bool:
    """Whether everything that a request names is looked up in a moment."""
    if read.histories is None or read.allowed is not None or read.exclude is not None:
        return False
    rows = read.histories.values() if isinstance(read.histories, dict) else read.histories
    return all(map(catalogue.model.names.known, rows))


def _reply(content: Any) -> Response:
    return Response(to_body(content), media_type="application/json")


def _facts(catalogue: ServedCatalogue) -> dict[str, Any]:
    changes = catalogue.model.changes
    return {
        "version": catalogue.version,
        "items": int(catalogue.available.sum()),
        "added": len(changes.added),
        "removed": len(changes.removed),
    }


def _list(lists: Lists, row: int) -> dict[str, Any]:
    places = np.flatnonzero(lists.numbers[row] >= 0).tolist()
    shown: dict[str, Any] = {} if lists.users is None else {"user": lists.users[row]}
    shown["items"] = [
        {
            "item": str(lists.items[row, place]),
            "title": str(lists.titles[row, place]),
            "score": float(lists.scores[row, place]),
        }
        for place in places
    ]
    return shown


def _search(catalogue: ServedCatalogue, wanted: str) -> Sequence[dict[str, str]]:
    """Items whose ID is a text, then those whose title begins with it, then those that have it."""
    names = catalogue.model.names
    exact, begin, inside = [], [], []
    for item, label in zip(names.ids.tolist(), names.labels.tolist(), strict=True):
        title = str(label).lower()
        if wanted == str(item).lower():
            exact.append((item, label))
        elif title.startswith(wanted):
            begin.append((item, label))
        elif wanted in title:
            inside.append((item, label))
    found = [*exact, *begin, *inside][:_FOUND]
    return [{"item": str(item), "title": str(label)} for item, label in found]
