"""Command line of ``pull`` and ``push``. Nothing heavy is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pipeline.errors import VoxelwayError


def add(verbs: Any) -> None:
    """Add the two verbs to the command line."""
    pull = verbs.add_parser("pull", help="fetch series from an archive (PACS)")
    pull.add_argument("output", type=Path, metavar="OUT_DIR", help="private folder of originals")
    what = pull.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", type=Path, metavar="FILE.tsv",
                      help="a row each, columns patient, study, accession, series, …")  # fmt: skip
    what.add_argument("--query", nargs="+", metavar="KEY=VALUE",
                      help="date=YYYYMMDD-YYYYMMDD, modality=, description=, …")  # fmt: skip
    pull.add_argument("--dry-run", action="store_true", help="only look up and count")
    pull.set_defaults(run=_run_pull)
    push = verbs.add_parser("push", help="send files to an archive (PACS)")
    push.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files and folders")
    push.add_argument("--report", type=Path, metavar="FILE.tsv",
                      help="gets a row a file; what it calls stored is not sent again")  # fmt: skip
    push.set_defaults(run=_run_push)
    _add_archive(pull, ("get", "move", "web"))
    _add_archive(push, ("store", "web"))


def _add_archive(parser: argparse.ArgumentParser, ways: tuple[str, ...]) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pacs", type=Path, metavar="FILE", help="YAML with the keys of `pacs`")
    source.add_argument("--config", type=Path, help="configuration whose section `pacs` is used")
    parser.add_argument("--peer", metavar="NAME", help="which archive, where several are named")
    parser.add_argument("--via", choices=ways, help="in place of the archive's own `via`")
    parser.add_argument("--rate", type=float, metavar="N", help="most instances a second")


def _peer(arguments: argparse.Namespace) -> Any:
    from pipeline import config
    from pipeline.pacs.peer import read_peer

    if arguments.pacs is not None:
        raw = config.read(arguments.pacs)
    else:
        raw = config.read(arguments.config).get("pacs") or {}
    changes: dict[str, Any] = {}
    if arguments.via is not None:
        # how instances are sent by DIMSE does not depend on how they are fetched
        changes["via"] = {"store": "get"}.get(arguments.via, arguments.via)
    if arguments.rate is not None:
        if not arguments.rate >= 0:
            raise VoxelwayError("E-USAGE", "--rate must not be below 0")
        changes["rate"] = arguments.rate
    return read_peer(raw, arguments.peer, changes)


def _run_pull(arguments: argparse.Namespace) -> int:
    from pipeline.pacs import request
    from pipeline.pacs.pull import pull

    if arguments.list is not None:
        requests = request.of_list(arguments.list)
    else:
        requests = [request.of_query(arguments.query)]
    return pull(_peer(arguments), requests, arguments.output, dry=arguments.dry_run)


def _run_push(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from pipeline.pacs.push import push

    peer = _peer(arguments)
    # C-MOVE is a way to fetch: nothing has to listen when files are sent
    peer = replace(peer, via="get") if peer.via == "move" else peer
    return push(peer, arguments.paths, arguments.report)
