"""LLM4RS with a language model that is asked as it is: free and constrained answers, one example.

    jaxrec train llm4rs/asked --asked.path PATH
    jaxrec eval runs/llm4rs-asked

PATH is a run, a model directory, a checkpoint of Hugging Face or a GGUF file. A service is given by
`--asked.path "" --asked.endpoint ADDRESS --asked.name MODEL --eval.answers free`. Training only
checks the settings and opens the model; the evaluation asks.

Cost with SmolLM2-135M, 100 instances: 1,600 prompts of about 200 tokens for each kind of answers,
170 TFLOP in products. Its figures are unknown.
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
