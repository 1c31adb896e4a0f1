"""`pack cache`: what finished work is kept, and making room."""

from __future__ import annotations

import time

import click

from packc.cache import Cache, Entry
from packc.cli.console import LOGGER, print_json, print_table


@click.group()
def cache() -> None:
    """List or shrink the cache of finished work."""


@cache.command("ls")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_entries(as_json: bool) -> None:
    """List the entries, the one used longest ago first."""
    store = Cache()
    entries = store.entries()
    if as_json:
        print_json({"schema": 1, "root": str(store.root), "entries": [_describe(entry) for entry in entries]})
        return
    rows = [(e.kind, e.key[:12], f"{e.size_bytes / 2**20:.1f}", _say_age(time.time() - e.used_at)) for e in entries]
    print_table(("KIND", "KEY", "MIB", "USED"), rows)
    total_mib = sum(entry.size_bytes for entry in entries) / 2**20
    LOGGER.info("%d entries, %.1f MiB in %s", len(entries), total_mib, store.root)


@cache.command("gc")
@click.option(
    "--cap-gib", type=click.FloatRange(min=0), help="Keep at most this much; $PACK_CACHE_GIB or 20 otherwise."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def collect(cap_gib: float | None, as_json: bool) -> None:
    """Remove abandoned work and what was used longest ago, until the rest fits the cap."""
    store = Cache()
    removed = store.collect_garbage(cap_gib)
    if as_json:
        print_json({"schema": 1, "root": str(store.root), "removed": [_describe(entry) for entry in removed]})
    freed_mib = sum(entry.size_bytes for entry in removed) / 2**20
    LOGGER.info("removed %d entries, %.1f MiB", len(removed), freed_mib)


def _describe(entry: Entry) -> dict[str, object]:
    return {"kind": entry.kind, "key": entry.key, "size_bytes": entry.size_bytes, "used_at": entry.used_at}


def _say_age(seconds: float) -> str:
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return "just now"
