"""`jaxrec serve RUN`: serve a recommender, or a text model in the protocol of OpenAI, over HTTP."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import check_no_config
from jaxrec.core import ConfigError, Count, NotNegative, Positive, Range, Whole
from jaxrec.models import Dtype


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Serve a recommender, or a text model in the protocol of OpenAI, over HTTP.

    Attributes:
      run: a run that recommends items, or an export of one; or a text model: a run directory, a
        model directory, a checkpoint of Hugging Face, or a GGUF file, with a tokenizer.
      kind: "items" serves recommendations, and "text" completions and chats; by default items for
        a run of a system that ranks items, and text for all others.
      baseline: serve this baseline of the run in place of its model, such as popularity; see
        `jaxrec.open`.
      host: address at which to listen; only this machine by default. 0.0.0.0 is all addresses.
      port: at which to listen; 0 for any free one.
      api_key_file: file of keys, one a line; each request must send one of them. By default no key
        is needed.
      workers: processes that answer, each with the whole model in its memory. For CPUs with more
        cores than one process keeps busy.
      batch_sizes: numbers of rows to which batches are padded; by default 1 and 8 for text, and
        1, 8 and 64 for items.
      wait: most seconds that a request waits for others to share a batch with.
      queue: most rows that wait; further requests are told to try again later.
      at_once: most batches that run in turn; each holds a cache in the device's memory.
      max_body: most bytes of the body of a request.
      drain_delay: seconds between a signal to end and the end of listening.
      drain_seconds: most seconds that requests may take to finish after that.
      name: what clients call a text model; by default the name of its directory.
      context: most tokens of a prompt and its answer; the text model's own limit by default.
      dtype: type of the parameters of a checkpoint of a text model.
      prompt_lengths: lengths to which prompts are padded; by default 64, 256, 1024, and so on, up
        to the context.
      answer_lengths: room for answers; the largest is the most that a request may ask for.
      max_choices: most answers to all prompts of a request together.
      most_top: longest list, and widest search, that a request for items may ask for.
      max_rows: most users or histories of a request for items.
      max_history: most items of a history.
      catalogue_dir: directory of files of catalogues, one of which an administrator may swap in.
      admin_key_file: file of the keys of administrators, one a line; they are keys of the service
        as well.
      room: share of items that such a file may add to those of the training.
      cache_mb: megabytes for what was read of named users' histories, of which a later request
        reads only what is new; 0 keeps nothing. For causal decoders.
      diversity_groups: groups of beams of lists that ask for diversity; 0 for a service without
        such lists. For generative models.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    kind: Literal["auto", "items", "text"] = "auto"
    baseline: str = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Range(0, 65535)] = 8000
    api_key_file: Path | None = None
    workers: Count = 1
    batch_sizes: tuple[Count, ...] = ()
    wait: NotNegative = 0.005
    queue: Count = 1024
    at_once: Count = 4
    max_body: Count = 4 << 20
    drain_delay: NotNegative = 0.5
    drain_seconds: Positive = 60.0
    name: str = ""
    context: Count | None = None
    dtype: Dtype = "float32"
    prompt_lengths: tuple[Count, ...] = ()
    answer_lengths: tuple[Count, ...] = (256,)
    max_choices: Count = 128
    most_top: Count = 50
    max_rows: Count = 256
    max_history: Count = 10_000
    catalogue_dir: Path | None = None
    admin_key_file: Path | None = None
    room: NotNegative = 0.25
    cache_mb: Whole = 0
    diversity_groups: Whole = 0


def run(arguments: list[str]) -> None:
    """Serve until the process is told to end.

    Raises:
      ConfigError: a wrong option, a model that writes no text, an address that cannot be used, or
        the packages of the extra `serve` are missing.
      DataError: no model there, or a damaged file.
    """
    options = parse(Arguments, arguments, prog="jaxrec serve")
    if not options.run.is_dir():
        check_no_config(options.run)
    try:
        from jaxrec.cli.serving import serve_run, serve_workers
    except ImportError as error:
        raise ConfigError(
            f"a service needs FastAPI, uvicorn and prometheus-client ({error}); install them: pip "
            "install 'jaxrec[serve]'"
        ) from error
    if options.workers > 1:
        serve_workers(options)
    else:
        serve_run(options)
