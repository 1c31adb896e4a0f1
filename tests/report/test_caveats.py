from __future__ import annotations

from dataclasses import replace

from manifests import make_allowed_manifest, make_kept_manifest, make_missed_manifest, make_planned_manifest
from packc.package.manifest import StudentRecord
from packc.report.caveats import make_caveats


def test_caveats_name_what_weakens_the_figures() -> None:
    assert [c for c in make_caveats(make_kept_manifest()) if "Noisy" not in c] == []
    missed = " ".join(make_caveats(make_missed_manifest()))
    assert "generated inputs only" in missed
    assert "No server ran" in missed
    assert "onnxruntime-int8-static-skip-ffn-down" in missed
    allowed = " ".join(make_caveats(make_allowed_manifest()))
    assert "--allow-miss" in allowed
    assert "drifted" in allowed
    planned = make_planned_manifest()
    generated = replace(planned, promises=replace(planned.promises, quality_data="generated"))
    assert make_caveats(planned) == make_caveats(generated) == (), "nothing was judged"


def test_a_student_is_told_of() -> None:
    student = StudentRecord(3, 6, 300, 540, 1.306, 0.2149, 91.6, "texts.jsonl")
    assert make_caveats(replace(make_kept_manifest(), student=student))[0] == (
        "Candidates of the student compute 3 of the model's 6 layers, trained in 92 s (300 steps on 540 texts) to "
        "answer as the model does: on texts held out from that, the loss went from 1.31 to 0.215."
    )
    cut = replace(student, of_steps=400)
    expected = "trained in 92 s (300 of 400 steps, then the time was over, on 540 texts)"
    assert expected in make_caveats(replace(make_kept_manifest(), student=cut))[0]
