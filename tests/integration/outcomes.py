"""What the integration tests found, as Markdown: operations by versions, one table a server."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hotrod_codec import Op, Status
from integration.peers import Sightings, Target, version_text


@dataclass
class Outcomes:
    """Tests by operation and target, and the statuses that the servers answered."""

    sightings: Sightings = field(default_factory=Sightings)
    passed: dict[tuple[Op, Target], int] = field(default_factory=lambda: defaultdict(int))
    failed: dict[tuple[Op, Target], int] = field(default_factory=lambda: defaultdict(int))

    def note(self, op: Op, target: Target, *, passed: bool) -> None:
        (self.passed if passed else self.failed)[op, target] += 1

    def markdown(self) -> str:
        targets = sorted(
            {target for _, target in self.passed.keys() | self.failed.keys()},
            key=lambda target: (target.server, target.version),
        )
        seen = sorted({Status(status) for _, _, status in self.sightings.statuses})
        lines = [
            "# The codec against real servers",
            "",
            "A cell says how many tests of the operation or event passed, on one node and on",
            "three, then the statuses that were seen. Empty: the version has no such thing.",
            "",
            *(f"- {status:02x}: {status.name.lower().replace('_', ' ')}" for status in seen),
        ]
        for server in dict.fromkeys(target.server for target in targets):
            columns = [target for target in targets if target.server == server]
            versions = [version_text(target.version) for target in columns]
            lines += ["", f"## Infinispan {server}", ""]
            lines.append(f"| operation | {' | '.join(versions)} |")
            lines.append(f"|---|{'---|' * len(columns)}")
            for op in Op:
                cells = [self._cell(op, target) for target in columns]
                if any(cells):
                    lines.append(f"| {op.name.lower()} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def _cell(self, op: Op, target: Target) -> str:
        passed, failed = self.passed.get((op, target), 0), self.failed.get((op, target), 0)
        if not passed and not failed:
            return ""
        text = f"**{failed} of {passed + failed} failed**" if failed else str(passed)
        statuses = sorted(s for t, o, s in self.sightings.statuses if (t, o) == (target, op))
        return f"{text}: {' '.join(f'{status:02x}' for status in statuses)}"
