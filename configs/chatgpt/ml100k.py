"""The five tasks of "Is ChatGPT a good recommender?" on MovieLens-100K, for any language model.

    jaxrec train chatgpt/ml100k --asked.path PATH
    jaxrec eval runs/chatgpt-ml100k

PATH is a run, a directory of Hugging Face or a GGUF file, and `--asked.chat` asks it in its chat
template. `--asked.endpoint URL --asked.name NAME` asks a service instead. `--shots 3` adds three
demonstrations to each prompt, and `--eval.probe-slots 5` measures position bias. Reviews are
synthetic, because MovieLens has none; explanations and summaries only show that the mechanism
works.

Cost: nothing is trained. 100 users and rows make 800 questions of 284 tokens of GPT-2 on average;
those with a hundred candidates have 835. `chatgpt/claims` has figures.
"""

from jaxrec.systems.chatgpt import ChatGptConfig, GroundingConfig


def get_config() -> ChatGptConfig:
    # Nine titles of MovieLens belong to two items each.
    return ChatGptConfig(grounding=GroundingConfig(duplicates="mark"))
