"""When to stop optimizing a reward that only stands in for what is wanted."""

from collections.abc import Mapping, Sequence


def over_optimized(
    measured: Sequence[Mapping[str, float]], *, kl_budget: float = 0.0, patience: int = 2
) -> str:
    """Say why the optimization of a reward must end, or "" to go on.

    It must end if the divergence from the reference exceeds a budget. With a gold reward it also
    must end once the gold reward has been below its best for some measurements, although the
    reward is higher than at that best: the policy exploits the reward (Gao et al. 2023,
    arXiv:2210.10760).

    Args:
      measured: metrics so far, oldest first: "score", "kl", and "gold" if there is one.
      kl_budget: divergence of a whole response in nats; 0 for no limit.
      patience: number of measurements since the best gold reward.

    Example:
      >>> over_optimized([{"score": 1.0, "kl": 2.0}, {"score": 2.0, "kl": 7.5}], kl_budget=6.0)
      'the KL of 7.50 nats exceeds ppo.kl_budget 6'
    """
    last = measured[-1]
    if kl_budget and last["kl"] > kl_budget:
        return f"the KL of {last['kl']:.2f} nats exceeds ppo.kl_budget {kl_budget:g}"
    if "gold" not in last:
        return ""
    best = max(range(len(measured)), key=lambda place: measured[place]["gold"])
    top, since = measured[best], len(measured) - 1 - best
    if since < patience or last["score"] <= top["score"] or last["gold"] >= top["gold"]:
        return ""
    return (
        f"the gold reward fell from {top['gold']:.2f} to {last['gold']:.2f} over {since} "
        f"validations while the reward rose from {top['score']:.2f} to {last['score']:.2f}"
    )
