"""Serving choices: the rule (`plan`), which plans there are (`choices`), what each would do under load (`queue`)."""

from packc.serving.plan import ServingPlan, plan_serving

__all__ = ["ServingPlan", "plan_serving"]
