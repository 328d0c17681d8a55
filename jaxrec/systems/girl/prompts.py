"""Resumes and job descriptions as the tokens that generator, rewards and policy read.

A prompt is the template with the resume, and a description follows it. Prompt and description are
tokenized as one text. The prompt ends with a line break, and no token reaches across it, so the
tokens of the prompt alone are the first ones of the whole.

Shapes: `N` rows, `P` tokens of a prompt, `R` of a description.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.align import pad_rows as padded
from jaxrec.core import ConfigError, DataError
from jaxrec.data.corpora import encode_documents

# Lengths of rows are rounded up to a multiple of this.
_MULTIPLE = 16


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Writer:
    """Makes prompts of resumes.

    Attributes:
      template: with {resume} in it.
      tokenizer: of transformers.
      max_prompt: most tokens of a prompt.

    Raises:
      ConfigError: the template does not end where no token reaches across.
    """

    template: str
    tokenizer: Any
    max_prompt: int

    def __post_init__(self) -> None:
        """Reject a template whose last token would depend on the description."""
        prompt = self.template.format(resume="resume")
        whole = prompt + "Title: Baker"
        alone, together = encode_documents(self.tokenizer, [prompt, whole])
        if list(together[: len(alone)]) != list(alone):
            raise ConfigError(
                f"template {self.template!r:.80} ends inside a token of the tokenizer; end it with "
                "a line break"
            )

    def texts(self, resumes: Sequence[str]) -> list[str]:
        """The prompts of resumes; one that is too long loses words at the resume's beginning.

        Raises:
          DataError: a resume without any word that fits.
        """
        prompts = [self._filled(resume.strip()) for resume in resumes]
        lengths = [len(row) for row in encode_documents(self.tokenizer, prompts)]
        return [
            prompt if length <= self.max_prompt else self._shortened(resume.strip())
            for prompt, length, resume in zip(prompts, lengths, resumes, strict=True)
        ]

    def _filled(self, resume: str) -> str:
        return self.template.replace("{resume}", resume)

    def _shortened(self, resume: str) -> str:
        words = resume
        while len(encode_documents(self.tokenizer, [self._filled(words)])[0]) > self.max_prompt:
            # A sixteenth at a time, up to the next word.
            cut = words.find(" ", len(words) // 16)
            if cut < 0:
                raise DataError(
                    f"the resume {resume[:40]!r} does not fit --max-prompt {self.max_prompt} with "
                    "the template; raise it"
                )
            words = words[cut + 1 :]
        return self._filled(words)

    def prompts(self, resumes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Prompts padded on the left to one length: tokens `[N, P]` int32 and validity."""
        rows = encode_documents(self.tokenizer, self.texts(resumes))
        length = min(_rounded(max(len(row) for row in rows)), self.max_prompt)
        tokens = np.full((len(rows), length), self.tokenizer.pad_token_id or 0, np.int32)
        valid = np.zeros(tokens.shape, bool)
        for place, row in enumerate(rows):
            tokens[place, length - len(row) :] = row
            valid[place, length - len(row) :] = True
        return tokens, valid

    def targets(
        self, resumes: Sequence[str], jobs: Sequence[str], response: int
    ) -> dict[str, np.ndarray]:
        """Prompts padded on the left, and the descriptions to learn padded on the right.

        Args:
          resumes: N texts.
          jobs: their descriptions.
          response: R, most tokens of a description with the token that ends it.

        Returns:
          "tokens" and "valid" `[N, P + R]`, and "weights" `[N, R]` float32, 1 for tokens to learn.

        Raises:
          ConfigError: a description does not fit.
        """
        tokens, valid = self.prompts(resumes)
        ends = [self.tokenizer.eos_token_id]
        rows = [row + ends for row in encode_documents(self.tokenizer, jobs)]
        longest = max(map(len, rows))
        if longest > response:
            raise ConfigError(
                f"a description to learn has {longest} tokens with the one that ends it, and "
                f"--ppo.response is {response}; raise it"
            )
        answers, there = padded([np.array(row, np.int32) for row in rows], response)
        return {
            "tokens": np.concatenate([tokens, answers], axis=1),
            "valid": np.concatenate([valid, there], axis=1),
            "weights": there.astype(np.float32),
        }


def _rounded(length: int) -> int:
    return -(-length // _MULTIPLE) * _MULTIPLE
