"""A study that a service answers: what happens to it where the service fails in the middle."""

import pytest

from jaxrec.prompting import ServiceError
from jaxrec.runs import Options, evaluate_run
from jaxrec.systems.chatgpt import ChatGptConfig, ChatGptEvalConfig, run
from jaxrec.testing import scripted_service, tiny_config, write_tiny_csv
from jaxrec.texts import AskedModelConfig

pytest.importorskip("openai")


def _chat(request, number):
    """The first candidate, or three stars."""
    prompt = request["messages"][-1]["content"]
    text = "1. Film 003 (1953)" if "candidates" in prompt.lower() else "3"
    choices = [{"message": {"content": text}, "finish_reason": "stop"}]
    return {"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": 2}}


def _busy(how, every):
    def answer(request, number):
        return how if number % every == every - 1 else _chat(request, number)

    return answer


FAULTS = {
    "dead at once": lambda request, number: None if number >= 7 else _chat(request, number),
    "dead later": lambda request, number: None if number >= 18 else _chat(request, number),
    "errors": _busy((500, {"error": {"message": "oops"}}), 3),
    "slow down": _busy((429, {"error": {"message": "wait"}}, {"Retry-After": "0.01"}), 4),
    "half of a JSON text": _busy('{"choices": [{"mess', 4),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_study_goes_on_with_what_it_has_and_counts_nothing_twice(fault, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    behave, paid = FAULTS[fault], []

    def answer(request, number):
        made = behave(request, number)
        if isinstance(made, dict):
            paid.append(str(request))
        return made

    with scripted_service(answer) as (url, _):
        config = ChatGptConfig(
            data=tiny_config(write_tiny_csv(tmp_path)).data,
            candidates=12,
            tasks=("rating", "sequential_choose"),
            asked=AskedModelConfig(
                endpoint=url, name="m", retries=0, prompt_price=1e6, completion_price=1e6
            ),
            eval=ChatGptEvalConfig(test_instances=6, resamples=10),
        )
        run.train(config, tmp_path / "run", Options())
        try:
            evaluate_run(config, tmp_path / "run", [])
        except ServiceError as error:
            assert "dead" in fault and "the same command asks the rest" in str(error)
        before, behave = len(paid), _chat
        resumed = evaluate_run(config, tmp_path / "run", [])
        assert before > 0 and len(paid) == len(set(paid))
        # The report is that of a study without any fault.
        run.train(config, tmp_path / "whole", Options())
        whole = evaluate_run(config, tmp_path / "whole", [])
    assert resumed["totals"] == whole["totals"] and resumed["totals"]["failed"] == 0
    assert resumed["totals"]["cost"] == 12 * resumed["totals"]["prompts"]
    assert resumed["rows"] == whole["rows"] and resumed["tables"] == whole["tables"]
