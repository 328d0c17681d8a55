"""`jaxrec serve RUN`: serve a text model over HTTP, in the protocol of OpenAI."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from jaxrec.cli.arguments import parse
from jaxrec.cli.run_argument import check_no_config
from jaxrec.core import ConfigError, Count, NotNegative, Positive, Range, printable
from jaxrec.models import Dtype
from jaxrec.runs import open_any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """Serve a text model over HTTP: completions and chats in the protocol of OpenAI.

    Attributes:
      run: a run directory, a model directory, a checkpoint of Hugging Face, or a GGUF file, with a
        tokenizer.
      host: address at which to listen; only this machine by default. 0.0.0.0 is all addresses.
      port: at which to listen; 0 for any free one.
      api_key_file: file of keys, one a line; each request must send one of them. By default no key
        is needed.
      name: what clients call the model; by default the name of its directory.
      context: most tokens of a prompt and its answer; the model's own limit by default.
      dtype: type of the parameters of a checkpoint.
      prompt_lengths: lengths to which prompts are padded; by default 64, 256, 1024, and so on, up
        to the context.
      answer_lengths: room for answers; the largest is the most that a request may ask for.
      batch_sizes: numbers of rows to which batches are padded.
      wait: most seconds that a request waits for others to share a batch with.
      queue: most rows that wait; further requests are told to try again later.
      at_once: most batches that run in turn; each holds a cache in the device's memory.
      max_body: most bytes of the body of a request.
      max_choices: most answers to all prompts of a request together.
      drain_delay: seconds between a signal to end and the end of listening.
      drain_seconds: most seconds that requests may take to finish after that.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    host: str = "127.0.0.1"
    port: Annotated[int, Range(0, 65535)] = 8000
    api_key_file: Path | None = None
    name: str = ""
    context: Count | None = None
    dtype: Dtype = "float32"
    prompt_lengths: tuple[Count, ...] = ()
    answer_lengths: tuple[Count, ...] = (256,)
    batch_sizes: tuple[Count, ...] = (1, 8)
    wait: NotNegative = 0.005
    queue: Count = 1024
    at_once: Count = 4
    max_body: Count = 4 << 20
    max_choices: Count = 128
    drain_delay: NotNegative = 0.5
    drain_seconds: Positive = 60.0


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
        from jaxrec.serve import (
            Batcher,
            BatchingOptions,
            DrainOptions,
            Metrics,
            ServiceOptions,
            ServiceState,
            TextEngine,
            TextService,
            TextShapes,
            completions_router,
            listen,
            log_ready,
            make_service,
            read_keys,
            run_service,
        )
    except ImportError as error:
        raise ConfigError(
            f"a service needs FastAPI, uvicorn and prometheus-client ({error}); install them: pip "
            "install 'jaxrec[serve]'"
        ) from error
    keys = () if options.api_key_file is None else read_keys(options.api_key_file)
    shapes = TextShapes(
        prompt_lengths=options.prompt_lengths,
        answer_lengths=options.answer_lengths,
        batch_sizes=options.batch_sizes,
        context=options.context,
    )
    service_options = ServiceOptions(host=options.host, keys=keys, max_body=options.max_body)
    batching = BatchingOptions(wait=options.wait, queue=options.queue, at_once=options.at_once)
    drain = DrainOptions(options.drain_delay, options.drain_seconds)
    # An address that is in use is an error before a large model is read.
    with listen(options.host, options.port) as listener:
        engine = TextEngine(open_any(options.run, None, options.dtype), shapes)
        metrics = Metrics()
        batcher = Batcher(engine, batching, observe=metrics.batch, begun=log_ready)
        state = ServiceState(
            lambda: batcher.ready, service_options, metrics, lambda: batcher.failure is not None
        )
        metrics.watch_queue(lambda: batcher.waiting)
        name = options.name or options.run.resolve().stem
        service = TextService(
            engine=engine,
            batcher=batcher,
            state=state,
            # Clients that read the tokenizer from a path call the model by it.
            names=tuple(dict.fromkeys((name, str(options.run)))),
            most_choices=options.max_choices,
        )
        app = make_service([completions_router(service)], state)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"model: {printable(name)}, context {engine.context} tokens")
        if not keys and options.host in ("0.0.0.0", "::"):
            print("everybody who reaches this machine can use it; --api-key-file asks for keys")
        print(
            f"http://{shown}:{port}/v1 (end with Ctrl-C; /readyz says when it is ready)", flush=True
        )
        batcher.start()
        run_service(app, state, listener, drain)
        batcher.close(timeout=1.0)
        if batcher.failure is not None:
            raise batcher.failure
