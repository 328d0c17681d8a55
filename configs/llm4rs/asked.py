"""LLM4RS with a language model that is asked as it is: free and constrained answers, one example.

    jaxrec train llm4rs/asked --asked.path PATH
    jaxrec eval runs/llm4rs-asked

PATH is a run, a model directory, a checkpoint of Hugging Face or a GGUF file. A service is given by
`--asked.path "" --asked.endpoint ADDRESS --asked.name MODEL --eval.answers free`. Training only
checks the settings and opens the model; the evaluation asks.

Result on 2026-11-30 with SmolLM2-135M-Instruct, without an example and with
`--prompt.demonstrations 0 --eval.test-instances 50`, so the intervals are wide; NDCG@3 with
intervals over users:

    row                       NDCG@3               answers that cannot be read
    pair-wise, constrained    .579 [.460, .688]             0 %
    point-wise, constrained   .551 [.454, .646]             0 %
    list-wise, constrained    .412 [.311, .516]             0 %
    pair-wise, free           .426                        100 %
    point-wise, free          .426                         .4 %
    list-wise, free           .426                        100 %
    item-knn                  .559 [.454, .665]
    mf                        .551 [.438, .658]
    item-mean                 .503 [.384, .611]
    random                    .4262

Its likelihoods order candidates about as well as the baselines. Its words do not: it never writes a
legal order or a legal choice of two, and rates all candidates alike, so that every tie counts as a
random ranking.

Cost: 1,600 prompts of about 75 tokens in 10 CPU minutes. With the example, and 100 instances, it is
170 TFLOP in products.
"""

from jaxrec.systems.llm4rs import AskConfig, InstancesConfig, Llm4rsConfig, PromptConfig
from jaxrec.texts import AskedModelConfig


def get_config() -> Llm4rsConfig:
    return Llm4rsConfig(
        instances=InstancesConfig(seed=99),
        prompt=PromptConfig(demonstrations=1),
        asked=AskedModelConfig(path="models/smollm2"),
        eval=AskConfig(test_instances=100, shuffles=0),
    )
