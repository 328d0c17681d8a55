"""Scaling laws of language models: the loss of a model of some size, and how to spend compute.

Kaplan et al., Scaling Laws for Neural Language Models, arXiv:2001.08361 ("KM"), and Hoffmann et
al., Training Compute-Optimal Large Language Models, arXiv:2203.15556 ("Chinchilla").

`N` is a number of parameters (in KM's laws without embeddings), `D` of training tokens, `C` of
floating-point operations, `S` of steps and `B` of tokens in a batch. `L` is a loss in nats a token.
Training takes C = 6 N D operations: 2 N a token forward and 4 N backward.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxrec.core import ConfigError

PF_DAY = 8.64e19  # floating-point operations of one PFLOP/s over one day

Values = float | np.ndarray


class Optimum(NamedTuple):
    """The compute-optimal size and data of a budget, and the loss that the law predicts."""

    params: float
    tokens: float
    loss: float


def check_budget(flops: float) -> None:
    """Reject a budget that is no positive finite number of operations.

    Raises:
      ConfigError: naming the budget.

    Example:
      >>> check_budget(0.0)
      Traceback (most recent call last):
      jaxrec.core.errors.ConfigError: a budget must be above 0 FLOP and finite, got 0; ...
    """
    if not (0 < flops < np.inf):
        raise ConfigError(
            f"a budget must be above 0 FLOP and finite, got {flops:g}; give FLOP, such as 1e21"
        )


@dataclasses.dataclass(frozen=True)
class PowerLaw:
    """L(X) = (X_c / X)^α, a law in one variable.

    Attributes:
      scale: X_c, in the unit of X.
      alpha: α.

    Example:
      >>> PowerLaw(8.8e13, 0.076).loss(8.8e13)
      1.0
    """

    scale: float
    alpha: float

    def loss(self, x: Values) -> Values:
        """Predicted loss at X."""
        return (self.scale / x) ** self.alpha


# KM, equations 1.1 to 1.3 and table 5. X is N without embeddings, D in tokens, and C in PF-days.
# The law of C_min holds for training far below the critical batch; the other one for the batch of
# 2^19 tokens that the paper trained with.
KAPLAN_POWER = {
    "params": PowerLaw(8.8e13, 0.076),
    "tokens": PowerLaw(5.4e13, 0.095),
    "compute": PowerLaw(3.1e8, 0.050),
    "compute-fixed-batch": PowerLaw(1.6e7, 0.057),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class KaplanJoint:
    """KM's L(N, D) = [(N_c / N)^(α_N / α_D) + D_c / D]^α_D, with the constants of its table 2.

    Example:
      >>> law = KaplanJoint()
      >>> round(law.loss(6.4e13, 1.8e13) / 2**0.103, 6)
      1.0
    """

    alpha_n: float = 0.076
    alpha_d: float = 0.103
    n_c: float = 6.4e13
    d_c: float = 1.8e13

    def loss(self, params: Values, tokens: Values) -> Values:
        """Predicted loss of N parameters trained on D tokens until it no longer falls."""
        size = (self.n_c / params) ** (self.alpha_n / self.alpha_d)
        return (size + self.d_c / tokens) ** self.alpha_d


@dataclasses.dataclass(frozen=True, kw_only=True)
class KaplanSteps:
    """KM's L(N, S_min) = (N_c / N)^α_N + (S_c / S_min)^α_S and its critical batch.

    S_min is the number of steps far above the critical batch, B_crit(L) = B* / L^(1 / α_B) tokens.
    The defaults are those of KM's table 3 and of section 5.1.

    Example:
      >>> law = KaplanSteps()
      >>> law.critical_batch(1.0)
      200000000.0
      >>> law.min_steps(1000.0, 2e8, 1.0), law.min_compute(8.0, 2e8, 1.0)
      (500.0, 4.0)
    """

    alpha_n: float = 0.077
    n_c: float = 6.5e13
    alpha_s: float = 0.76
    s_c: float = 2.1e3
    alpha_b: float = 0.21
    b_star: float = 2e8

    def loss(self, params: Values, min_steps: Values) -> Values:
        """Predicted loss of N parameters after S_min steps."""
        return (self.n_c / params) ** self.alpha_n + (self.s_c / min_steps) ** self.alpha_s

    def critical_batch(self, loss: Values) -> Values:
        """B_crit in tokens, where steps and operations are traded off evenly."""
        return self.b_star / loss ** (1 / self.alpha_b)

    def min_steps(self, steps: Values, batch: Values, loss: Values) -> Values:
        """S_min = S / (1 + B_crit(L) / B): the steps that a very large batch would need."""
        return steps / (1 + self.critical_batch(loss) / batch)

    def min_compute(self, compute: Values, batch: Values, loss: Values) -> Values:
        """C_min = C / (1 + B / B_crit(L)): the compute that a very small batch would need."""
        return compute / (1 + batch / self.critical_batch(loss))

    def optimum(self, flops: float) -> Optimum:
        """The size that reaches the lowest loss with C_min = 6 N B_crit(L) S_min operations.

        At a fixed loss, C_min is smallest where α_N (N_c / N)^α_N = α_S (S_c / S_min)^α_S. Then
        N, B_crit and S_min are powers of L, and so is their product C_min.

        Raises:
          ConfigError: the budget is not positive.

        Example:
          >>> law = KaplanSteps()
          >>> best = law.optimum(8.64e19)
          >>> steps = best.tokens / law.critical_batch(best.loss)
          >>> round(best.loss / law.loss(best.params, steps), 9)
          1.0
        """
        check_budget(flops)
        exponent = 1 / self.alpha_n + 1 / self.alpha_s + 1 / self.alpha_b
        size = self.n_c * (1 + self.alpha_n / self.alpha_s) ** (1 / self.alpha_n)
        steps = self.s_c * (1 + self.alpha_s / self.alpha_n) ** (1 / self.alpha_s)
        loss = (6 * size * steps * self.b_star / flops) ** (1 / exponent)
        params = size * loss ** (-1 / self.alpha_n)
        return Optimum(params, flops / (6 * params), loss)


class Exponents(NamedTuple):
    """How the optimal N, B and S grow with compute, such as N ∝ C^params."""

    params: float
    batch: float
    steps: float


def kaplan_exponents(
    alpha_n: float = 0.076, alpha_b: float = 0.21, alpha_s: float = 0.76
) -> Exponents:
    """KM's closed form: α_C / α_N, α_C / α_B and α_C / α_S, with 1 / α_C = 1/α_N + 1/α_B + 1/α_S.

    The paper measured other exponents (`KAPLAN_EMPIRICAL`).

    Example:
      >>> [round(x, 3) for x in kaplan_exponents()]
      [0.684, 0.248, 0.068]
    """
    alpha_c = 1 / (1 / alpha_n + 1 / alpha_b + 1 / alpha_s)
    return Exponents(alpha_c / alpha_n, alpha_c / alpha_b, alpha_c / alpha_s)


# KM's fits to its most efficient runs (table 6): exponents, and values at one PF-day.
KAPLAN_EMPIRICAL = Exponents(params=0.73, batch=0.24, steps=0.03)
_AT_ONE_PF_DAY = Exponents(params=1.3e9, batch=2.0e6, steps=5.4e3)


def kaplan_allocation(flops: float) -> Exponents:
    """KM's empirical optimum: N, B in tokens and S for a budget, proportional to C^.73, .24, .03.

    Raises:
      ConfigError: the budget is not positive.

    Example:
      >>> params, batch, steps = kaplan_allocation(8.64e19)
      >>> params, batch, steps
      (1300000000.0, 2000000.0, 5400.0)
    """
    check_budget(flops)
    days = flops / PF_DAY
    pairs = zip(_AT_ONE_PF_DAY, KAPLAN_EMPIRICAL, strict=True)
    return Exponents(*(value * days**exponent for value, exponent in pairs))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chinchilla:
    """L(N, D) = E + A / N^α + B / D^β.

    Example:
      >>> law = CHINCHILLA["paper"]
      >>> best = law.optimum(5.76e23)
      >>> round(best.tokens / best.params, 1)
      92.6
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, params: Values, tokens: Values) -> Values:
        """Predicted loss of N parameters trained on D tokens."""
        return self.E + self.A / params**self.alpha + self.B / tokens**self.beta

    def optimum(self, flops: float) -> Optimum:
        """The size and data with the lowest loss for C = 6 N D.

        N* = G (C / 6)^(β / (α + β)) and D* = (C / 6)^(α / (α + β)) / G, with
        G = (α A / (β B))^(1 / (α + β)).

        Raises:
          ConfigError: the budget is not positive, or the law has no optimum.
        """
        check_budget(flops)
        if min(self.A, self.B, self.alpha, self.beta) <= 0:
            raise ConfigError(
                f"A, B, alpha and beta must be above 0 for an optimum, got A {self.A:g}, "
                f"B {self.B:g}, alpha {self.alpha:g}, beta {self.beta:g}; check the fit"
            )
        total = self.alpha + self.beta
        g = (self.alpha * self.A / (self.beta * self.B)) ** (1 / total)
        params = g * (flops / 6) ** (self.beta / total)
        tokens = (flops / 6) ** (self.alpha / total) / g
        return Optimum(params, tokens, float(self.loss(params, tokens)))


# "paper": the body of the paper. "paper-tex": the unrounded values in its source. Rounding moves
# the optimum by a factor of 1.25. "epoch": Besiroglu et al., Chinchilla Scaling: A replication
# attempt, arXiv:2404.10102, who fitted the paper's data to the end.
CHINCHILLA = {
    "epoch": Chinchilla(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
    "paper": Chinchilla(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
    "paper-tex": Chinchilla(
        E=float(np.exp(0.5267228)),
        A=float(np.exp(6.0073404)),
        B=float(np.exp(6.0179186)),
        alpha=0.33917084,
        beta=0.2849083,
    ),
}
