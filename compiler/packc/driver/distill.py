"""Has the student of a plan trained; a training that fails costs its candidates, and the others go on."""

from __future__ import annotations

import logging

from packc.cache import Cache
from packc.driver.halving import log_duration
from packc.driver.inputs import BuildInputs
from packc.errors import DataError, PackError
from packc.ingest.distill import Distilled, distill_student
from packc.plan import Plan, Rejection, name_student

log = logging.getLogger(__name__)


def distill_plan(plan: Plan, inputs: BuildInputs, cache: Cache) -> tuple[Plan, Distilled | None]:
    """The student that candidates of `plan` begin with, or the plan without them and why; None without such ones."""
    section = inputs.spec.optimize.distill
    if section is None or inputs.lessons is None or all(c.source == "model" for c in plan.candidates):
        return plan, None
    try:
        with log_duration("training a student"):
            return plan, distill_student(inputs.info, section, inputs.lessons, cache)
    except DataError:
        raise  # the user's samples are at fault, not the student
    except PackError as error:
        log.info("no student: %s", error)
        rejection = Rejection(name_student(section.layers), f"not distilled: {error}")
        own = tuple(candidate for candidate in plan.candidates if candidate.source == "model")
        return Plan(own, (*plan.rejected, rejection)), None
