"""How many tokens a call will take, before it has taken any: from its prompt, and what others took."""

from __future__ import annotations

from langchain_cluster.model.call import Outcome, Request, Verdict
from langchain_cluster.model.endpoint import Role

ANSWER = 256.0  # tokens an answer is taken to have until some were seen
TOKENS_PER_LEAST = 1.5  # prompt tokens to the fewest it can have, until some were seen: 4 characters, not 6
LEARN = 0.05  # the weight of one answer in what is learnt


class Expected:
    """What is expected of the next call, from those before it. Not locked: its owner is.

    Attributes:
        answer: tokens answers have here, on average and lately.
        ratio: prompt tokens to the fewest the prompt can have, likewise.
    """

    __slots__ = ("answer", "ratio")

    def __init__(self) -> None:
        self.answer, self.ratio = ANSWER, TOKENS_PER_LEAST

    def of(self, request: Request) -> tuple[float, float]:
        """(tokens of the prompt, tokens of the answer): its promised limit, or as many as they have here."""
        answer: float | None = request.answer_tokens
        if answer is None:
            answer = self.answer if request.role is Role.LLM else 0.0  # vectors are no tokens
        return request.prompt_tokens * self.ratio, float(answer)

    def learn(self, request: Request, outcome: Outcome) -> None:
        """Take an answer into what is expected of the next."""
        usage = outcome.usage
        if usage is None or outcome.verdict is not Verdict.OK:
            return
        self.answer += (usage.output_tokens - self.answer) * LEARN
        if request.prompt_tokens > 0 and usage.input_tokens > 0:
            ratio = min(max(usage.input_tokens / request.prompt_tokens, 0.5), 8.0)  # one odd prompt
            self.ratio += (ratio - self.ratio) * LEARN
