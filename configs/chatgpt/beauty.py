"""Sequential and direct recommendation of beauty products by a language model, on P5's split.

    jaxrec train chatgpt/beauty --asked.endpoint URL --asked.name NAME
    jaxrec eval runs/chatgpt-beauty

The three forms of sequential recommendation and the direct one, for 100 of 22,363 users; free
titles are looked up among 12,101 products. The published split has neither ratings nor reviews.
With a folder of Amazon's reviews and metadata as `--data.from-file`, and its file of reviews as
`--reviews`, `--tasks` takes rating, explanation and summary too.

Cost: nothing is trained; 500 questions, those with a hundred candidates of 2,205 tokens of GPT-2 on
average. It has no measured figures yet.
"""

from jaxrec.data import DataConfig
from jaxrec.systems.chatgpt import ChatGptConfig, DomainConfig, GroundingConfig


def get_config() -> ChatGptConfig:
    return ChatGptConfig(
        data=DataConfig(name="amazon-beauty"),
        domain=DomainConfig(thing="product", things="products", used="bought"),
        tasks=("sequential", "sequential_choose", "sequential_yesno", "direct"),
        grounding=GroundingConfig(duplicates="mark"),
        list_tokens=400,
    )
