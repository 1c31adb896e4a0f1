"""Pushes to a running server through its model control API, sending the files: no folder has to be shared.

What Triton 2.51 does decides how (checked on a real one): a model that fails to load keeps its old version, but an
ensemble whose new version is refused, or whose member changes version, is gone. So members are new models beside the
old ones, the new ensemble is rehearsed under a name of its own, and the switch comes last. A push over gRPC takes a
third of the time of one over HTTP; neither takes a model of 2 GB.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packc.errors import PackError, PushError
from packc.package.engine_stamp import find_stamp
from packc.package.schema import config_schema
from packc.push.release import Pushed, Release, ReleaseModel, pushed_members, release_of
from packc.server.client import Client, RequestFailed, connect
from packc.server.log import clean_reason
from packc.server.replay import replay_golden

log = logging.getLogger(__name__)

MAX_MODEL_BYTES = 2**31 - 2**20
"""Largest model in one message, of which protobuf allows 2^31 - 1 bytes."""
MAX_HTTP_BYTES = 48 * 2**20
"""From Triton 25.06 a server takes 64 MiB over HTTP unless told otherwise; base64 makes them 48."""
_BASE_TIMEOUT_S = 120.0
_SLOWEST_BYTES_PER_S = 4 * 2**20


class LiveServer:
    """A server that was started with `--model-control-mode=explicit`."""

    def accepts(self, destination: str) -> bool:
        return urlsplit(destination).scheme in ("http", "https", "grpc", "grpcs")

    def push(self, release: Release, destination: str) -> Pushed:
        """Loads the release and replays its golden requests before and after it becomes what clients get.

        Where it is that already, by what its configuration says, and answers as it should, nothing is loaded.
        """
        models = (*release.members, release.entry)
        _check_sizes(models)
        if names := sorted({Path(path).stem for model in models for path in model.configs}):
            log.warning("a running server takes config.pbtxt alone, not the configurations of %s", ", ".join(names))
        timeout_s = _BASE_TIMEOUT_S + max(model.size_bytes for model in models) / _SLOWEST_BYTES_PER_S
        with connect(destination, timeout_s=timeout_s) as client:
            log.info("%s: %s", destination, client.server_version())
            return _Push(client, release).run()


class _Push:
    """One push to one server: the steps share what they found there."""

    def __init__(self, client: Client, release: Release) -> None:
        self.client = client
        self.release = release
        self.serving = _find_serving(client, release.name)
        """Configuration of the model that serves under the release's name, or None."""
        versions = client.model_versions(release.name) if self.serving is not None else ()
        self.version = max(map(int, versions), default=0) + 1

    def run(self) -> Pushed:
        release, client = self.release, self.client
        if self._serves_release() and (replayed := self._try_replay()):
            return Pushed(self.version - 1, (), replayed)
        with self._undo_members() as added:
            for member in release.members:
                if not client.is_ready(member.name):
                    added.append(member.name)
                    self._load(member, 1)
            if self.serving is not None:
                self._rehearse()
            replayed = self._switch()
        if self.serving is not None:
            for name in pushed_members(self.serving) - {member.name for member in release.members}:
                client.unload(name)
        log.info("%s: '%s' is version %d and answers as it should", client.url, release.name, self.version)
        return Pushed(self.version, (*added, release.name), replayed)

    def _serves_release(self) -> bool:
        """Whether what serves says that it is this release, and its members are there."""
        same = self.serving is not None and release_of(self.serving) == release_of(self.release.entry.config)
        return same and all(self.client.is_ready(member.name) for member in self.release.members)

    def _try_replay(self) -> int:
        """Golden requests that what serves answers as it should; 0 where it does not, and has to be sent again."""
        with suppress(PackError):
            return self._replay(self.release.name)
        return 0

    @contextmanager
    def _undo_members(self) -> Iterator[list[str]]:
        """Collects names of members; unloads them when the push fails."""
        added: list[str] = []
        try:
            yield added
        except BaseException:
            for name in reversed(added):
                self._try_unload(name)
            raise

    def _rehearse(self) -> None:
        """Golden requests against the release under another name, while the old one serves."""
        rehearsal = self.release.entry.renamed(f"{self.release.name}-{self.release.entry.digest}")
        try:
            self._load(rehearsal, 1)
            self._replay(rehearsal.name)
        except PackError as error:
            raise PushError(f"{error}\n  the version that served before still serves", hint=error.hint) from error
        finally:
            self._try_unload(rehearsal.name)

    def _switch(self) -> int:
        """Makes the release what clients get; the golden requests that it answered."""
        try:
            self._load(self.release.entry, self.version)
            return self._replay(self.release.name)
        except PackError as error:
            raise PushError(f"{error}\n  {self._restore()}", hint=error.hint) from error

    def _replay(self, model: str) -> int:
        return replay_golden(self.client, model, self.release.golden, self.release.precision).requests

    def _restore(self) -> str:
        """Brings back what served before the switch, as far as that can be; says what serves now."""
        name = self.release.name
        if self.serving is None:
            self._try_unload(name)
            return f"nothing served as '{name}' before, and nothing does now"
        with suppress(RequestFailed):
            if self.client.is_ready(name, str(self.version - 1)):
                return f"version {self.version - 1} still serves"
        if self.serving.platform == "ensemble":
            with suppress(PackError):
                self._load(ReleaseModel(self.serving, {}, ""), self.version + 1)
                return f"the version that served before serves again, as version {self.version + 1}"
        return (
            f"the files of what served as '{name}' before are not known here, so it was not restored: "
            f"'{name}' has to be pushed again from its package"
        )

    def _load(self, model: ReleaseModel, version: int) -> None:
        """Loads `model` as `version`. Raises PushError with Triton's reason when that does not become ready."""
        from google.protobuf import json_format

        config = json_format.MessageToJson(model.config, preserving_proto_field_name=True)
        files = {path: file.read_bytes() for path, file in model.files_at(version).items()}
        megabytes = model.size_bytes / 1e6
        log.info("sending %s (%.1f MB)", model.name, megabytes)
        if model.size_bytes > MAX_HTTP_BYTES and self.client.protocol == "http":
            log.warning("newer servers refuse %.0f MB over HTTP by default; grpc://HOST:8001 is faster", megabytes)
        try:
            self.client.load(model.name, config, files or {f"{version}/.keep": b""})
        except RequestFailed as error:
            # Triton calls the load of an ensemble over members without a repository failed, and yet it is ready
            if not self.client.is_ready(model.name, str(version)):
                raise _explain(model, error) from error
        if not self.client.is_ready(model.name, str(version)):
            raise PushError(f"model '{model.name}' was loaded but its version {version} is not ready")

    def _try_unload(self, name: str) -> None:
        with suppress(PackError):
            self.client.unload(name)


def _check_sizes(models: tuple[ReleaseModel, ...]) -> None:
    for model in models:
        if model.size_bytes > MAX_MODEL_BYTES:
            raise PushError(
                f"model '{model.name}' has {model.size_bytes / 1e9:.1f} GB; one message to a server holds 2.1 GB",
                hint="push into a repository folder that the server reads",
            )


def _find_serving(client: Client, name: str) -> Any:
    """None only where the server says that nothing is ready; a server that does not answer raises RequestFailed."""
    if not client.is_ready(name):
        return None
    document = client.model_config(name)
    from google.protobuf import json_format

    return json_format.ParseDict(document, config_schema().ModelConfig(), ignore_unknown_fields=True)


def _explain(model: ReleaseModel, error: RequestFailed) -> PushError:
    reason = clean_reason(str(error.reason))
    if "not allowed" in reason:
        return PushError(
            f"the server does not let its models be changed: {reason}",
            hint="start it with --model-control-mode=explicit, or push into its repository folder",
        )
    hint = None
    if "failed to poll" in reason:
        hint = "the server's log says why: a field of config.pbtxt, or a backend that it lacks"
    for path in model.files.values():
        if stamp := find_stamp(path):
            hint = f"its engine is of {stamp.describe()}, and loads nowhere else: build it again on the server's GPU"
    return PushError(f"the server refused model '{model.name}': {reason}", hint=hint)
