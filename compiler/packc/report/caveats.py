"""What a report says beside the figures: what weakens them, and what they are not."""

from __future__ import annotations

from packc.package.combined_ways import list_faults
from packc.package.manifest import Manifest, StudentRecord
from packc.report.device import advise_quiet, list_device_caveats
from packc.report.view import describe_count


def make_caveats(manifest: Manifest) -> tuple[str, ...]:
    """What a reader should know before trusting the figures, in sentences."""
    caveats = []
    judged = any(m.quality for record in manifest.candidates if (m := record.measurements))
    if judged and manifest.promises.quality_data == "generated":
        caveats.append(
            "Quality was judged on generated inputs only, because the spec names no data. "
            "It says little about real requests; set [quality] data."
        )
    if student := manifest.student:
        caveats.append(
            f"Candidates of the student compute {student.layers} of the model's {student.of_layers} layers, trained in "
            f"{student.seconds:.0f} s ({_count_steps(student)} on "
            f"{describe_count(student.samples, 'text')}) to answer as the model does: on texts held out from that, the "
            f"loss went from {student.loss_before:.3g} to {student.loss_after:.3g}."
        )
    caveats += list_device_caveats(manifest)
    noisy = [record.id for record in manifest.candidates if record.measurements and record.measurements.noisy]
    if noisy:
        caveats.append(
            f"Noisy: the rounds of {', '.join(noisy)} disagree by more than 10 %, as when something else uses the "
            f"{advise_quiet(manifest)}"
        )
    measured = any(m.p50_ms is not None for record in manifest.candidates if (m := record.measurements))
    if measured and manifest.served is None:
        caveats.append(
            "No server ran: latency is that of one caller in a process of its own, without network, queue or batching."
        )
    if manifest.served and manifest.served.noisy:
        caveats.append("Noisy: the served latency drifted during the run, as when something else uses the machine.")
    if manifest.served and manifest.served.quality is None:
        caveats.append(
            "Quality was measured on the artifact, not through the server; golden requests tie the two together."
        )
    if manifest.verdict.met is False and manifest.verdict.chosen:
        caveats.append("The chosen candidate misses a promise: a build publishes it only with --allow-miss.")
    caveats += (f"Of several GPUs: {fault}." for fault in list_faults(manifest.combined))
    return tuple(caveats)


def _count_steps(student: StudentRecord) -> str:
    if student.steps >= student.of_steps:
        return describe_count(student.steps, "step")
    return f"{student.steps} of {describe_count(student.of_steps, 'step')}, then the time was over,"
