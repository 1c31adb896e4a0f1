"""Checks a whole Triton repository, anyone's, before a server does."""

from __future__ import annotations

from pathlib import Path

from packc.errors import Diagnostic, UsageError
from packc.package.lint import batching, engines, ensemble, files, graph, instances, options, responses, tensors, warmup
from packc.package.lint.repository import CONFIG, list_config_names, read_repository
from packc.package.lint.rule import Rule

RULES: tuple[Rule, ...] = (
    # the folder
    files.check_name,
    files.check_backend,
    files.check_versions,
    files.check_model_file,
    files.check_openvino_weights,
    files.check_engine_files,
    files.check_python_source,
    files.check_label_files,
    files.check_environment,
    files.check_capability_files,
    # tensors
    tensors.check_tensors_written,
    tensors.check_tensor_names,
    tensors.check_types,
    tensors.check_dims,
    tensors.check_reshape,
    tensors.check_formats,
    tensors.check_ragged,
    # batching
    batching.check_max_batch_size,
    batching.check_scheduler,
    batching.check_preferred_sizes,
    batching.check_priorities,
    batching.check_ordering,
    # where it runs
    instances.check_kinds,
    instances.check_threads,
    instances.check_parameters,
    instances.check_padding,
    instances.check_accelerators,
    instances.check_graph_settings,
    options.check_accelerator_options,
    options.check_parameter_names,
    # how it answers
    responses.check_cache,
    # warm-up
    warmup.check_warmup_inputs,
    warmup.check_warmup_data,
    warmup.check_warmup_batch,
    # the real graph
    graph.check_graph_readable,
    graph.check_graph_names,
    graph.check_graph_types,
    graph.check_graph_batch,
    graph.check_graph_dims,
    # the real engine
    engines.check_stamp,
    engines.check_bindings,
    engines.check_profile_numbers,
    engines.check_profile_batch,
    engines.check_profile_dims,
    # ensembles
    ensemble.check_ensemble_form,
    ensemble.check_members,
    ensemble.check_member_batches,
    ensemble.check_step_maps,
    ensemble.check_flow,
    ensemble.check_wires,
    ensemble.check_inflight,
)


def lint_repository(folder: Path) -> list[Diagnostic]:
    """All that Triton would refuse, or take for something else, in the repository `folder`; by file, then by line.

    Models with configurations of other names (configs/<name>.pbtxt) are checked with each of them.

    Raises UsageError when `folder` is not a repository with at least one model.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="give the folder that holds the models' folders")
    if (folder / CONFIG).is_file():
        raise UsageError(f"{folder} is one model, not a repository", hint=f"give the folder above: {folder.parent}")
    found: list[Diagnostic] = []
    for config_name in (None, *list_config_names(folder)):
        models, problems = read_repository(folder, config_name)
        if not models and not problems:
            hint = "a repository has one folder a model, each with config.pbtxt"
            raise UsageError(f"{folder} holds no model", hint=hint)
        found += problems
        for model in models.values():
            for rule in RULES:
                found += rule(model, models)
    return sorted({diagnostic.render(): diagnostic for diagnostic in found}.values(), key=_place)


def _place(diagnostic: Diagnostic) -> tuple[str, int, int]:
    span = diagnostic.span
    return (str(span.path), span.line, span.column) if span else ("", 0, 0)
