"""What a P5 run is asked: prompts of each task for the validation and test items, and the answers.

Prompts are those of training, but for the history, which is as long as the stage allows, and for
the negatives, which are items that the user has never met, held-out ones included.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxrec.data import Reviews, Template, ratings
from jaxrec.eval import average, list_metrics, rating_errors, rouge
from jaxrec.runs import Stage
from jaxrec.systems.p5.config import P5Config
from jaxrec.systems.p5.prompts import CANDIDATES, CATALOGUE, TEMPLATES, TEXTS
from jaxrec.texts import PromptData, Prompted, eval_candidates, fitted, reviewed_rows

METRIC = "score"
# Rows of a validation of ratings and of texts during training, and the most tokens of a text.
_VALID_ROWS, _VALID_TEXTS = 1000, 200
TEXT_TOKENS = 32


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Question:
    """Prompts that ask some users for an item.

    Attributes:
      prompts: N.
      users: [N].
      targets: [N].
      seen: N arrays of items of the histories.
      candidates: [N, A] items to choose from; None for all.
    """

    prompts: list[str]
    users: np.ndarray
    targets: np.ndarray
    seen: list[np.ndarray]
    candidates: np.ndarray | None

    def allowed(self, num_items: int) -> np.ndarray | None:
        """The candidates as a mask, [N, I] bool."""
        if self.candidates is None:
            return None
        mask = np.zeros((len(self.prompts), num_items), bool)
        np.put_along_axis(mask, self.candidates, True, axis=1)
        return mask


def question(
    data: PromptData, task: str, template: Template, stage: Stage, users: np.ndarray, seed: int = 0
) -> Question:
    """Ask users with a template of a task of `CATALOGUE` or `CANDIDATES`."""
    split = data.dataset.split
    histories, candidates = split.history(stage), None
    if task in CANDIDATES:
        candidates = eval_candidates(data.dataset, stage, data.candidates, seed)[users]
    prompts = []
    for place, user in enumerate(users.tolist()):
        fields = data.history(user, histories[user])
        if candidates is not None:
            fields |= data.offer(candidates[place])
        # The target is not asked for, and so not filled in.
        prompts.append(template.source.format_map(fields))
    seen = [histories[user] for user in users.tolist()]
    return Question(
        prompts=prompts,
        users=users,
        targets=split.target(stage)[users],
        seen=seen,
        candidates=candidates,
    )


def wordings(data: PromptData, task: str) -> dict[str, Template]:
    """The first wording that training sees and the first that it does not."""
    found: dict[str, Template] = {}
    for template in fitted(TEMPLATES[task], data.names):
        found.setdefault("seen" if template.seen else "unseen", template)
    return found


def rate(prompted: Prompted, prompts: Sequence[str]) -> np.ndarray:
    """The mean star that the model gives, over all rating texts: [N] float64."""
    logs = prompted.score(prompts, ratings.TEXTS).astype(np.float64)
    share = np.exp(logs - logs.max(axis=1, keepdims=True))
    stars = np.array([ratings.star_of(text) for text in ratings.TEXTS], np.float64)
    return share @ stars / share.sum(axis=1)


def row_prompts(data: PromptData, template: Template, rows: np.ndarray) -> list[str]:
    """Prompts of a template of ratings, explanations or reviews."""
    rng = np.random.default_rng(0)
    return [template.source.format_map(data.row(int(row), rng)) for row in rows]


def written_of(reviews: Reviews, task: str) -> list[str]:
    """What a task of `TEXTS` shall write of each row."""
    return reviews.explanation if task == "explanation" else reviews.title


def validation(config: P5Config, data: PromptData) -> dict[str, Any]:
    """Prompts of the validations during training, by task."""
    users = np.arange(data.dataset.num_users)
    if config.eval.valid_users:
        rng = np.random.default_rng(config.train.seed)
        users = np.sort(rng.permutation(users)[: config.eval.valid_users])
    asked: dict[str, Any] = {}
    for task in config.tasks:
        if task in (*CATALOGUE, *CANDIDATES):
            asked[task] = question(data, task, wordings(data, task)["seen"], "valid", users)
        elif task == "rating" and data.ratings is not None:
            rng = np.random.default_rng(config.train.seed)
            rows = np.sort(rng.permutation(data.ratings.valid)[:_VALID_ROWS])
            truth = data.dataset.interactions.rating[rows]
            asked[task] = row_prompts(data, wordings(data, task)["seen"], rows), truth
        elif task in TEXTS and data.ratings is not None and data.reviews is not None:
            rng = np.random.default_rng(config.train.seed)
            rows = reviewed_rows(task, data.ratings.valid, data.reviews)
            rows = np.sort(rng.permutation(rows)[:_VALID_TEXTS])
            # The last of the seen wordings says most: of an explanation the stars and a hint.
            template = [t for t in fitted(TEMPLATES[task], data.names) if t.seen][-1]
            prompts = row_prompts(data, template, rows)
            asked[task] = prompts, [written_of(data.reviews, task)[row] for row in rows]
    return asked


def validate(prompted: Prompted, asked: Mapping[str, Any], config: P5Config) -> dict[str, float]:
    """Metrics of each task, and "score": the sum of NDCG@10 and ROUGE-L, less the RMSE."""
    found: dict[str, float] = {}
    score = 0.0
    for task, prompts in asked.items():
        if isinstance(prompts, Question):
            items = rank(prompted, prompts, config, config.decode.filter_seen)
            metrics = average(list_metrics(items, prompts.targets, config.eval.ks))
            found |= {f"{task}/{name}": metrics[name] for name in ("hr@10", "ndcg@10")}
            score += metrics["ndcg@10"]
        elif task in TEXTS:
            texts = prompted.write(prompts[0], TEXT_TOKENS)
            found[f"{task}/rougeL"] = rouge(texts, prompts[1])["rougeL"]
            score += found[f"{task}/rougeL"]
        else:
            errors = rating_errors(rate(prompted, prompts[0]), prompts[1])
            found[f"{task}/rmse"] = errors["rmse"]
            score -= errors["rmse"]
    return found | {METRIC: score}


def rank(prompted: Prompted, asked: Question, config: P5Config, filtered: bool) -> np.ndarray:
    """The best items for each prompt, by a beam over the trie of all or of the candidates: [N, K].

    Args:
      prompted: the model.
      asked: prompts.
      config: of the run.
      filtered: never give what is in the history; candidates are given whatever it holds.
    """
    allowed = asked.allowed(len(prompted.items))
    return prompted.recommend(
        asked.prompts,
        beams=config.decode.beams,
        allowed=allowed,
        excluded=asked.seen if filtered and allowed is None else None,
    )[0]
