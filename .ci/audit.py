"""What is known against the packages that are installed: `make audit`.

`pip check`, the list of bad-versions.txt, and pip-audit, which asks the index. Where the index knows nothing about
holes, it says so: not audited. With --strict that is a failure too.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.specifiers import SpecifierSet

BAD = Path(__file__).with_name("bad-versions.txt")


def main(arguments: list[str]) -> int:
    consistent = subprocess.run([sys.executable, "-m", "pip", "check"], check=False).returncode == 0
    found = list(known())
    for line in found:
        print(f"known to be bad: {line}", file=sys.stderr)
    holes, unknown = asked()
    for line in holes:
        print(f"pip-audit: {line}", file=sys.stderr)
    if unknown:
        print(f"not audited: {unknown}", file=sys.stderr)
    return int(not consistent or bool(found or holes) or (bool(unknown) and "--strict" in arguments))


def bad() -> Iterator[tuple[str, SpecifierSet, str]]:
    """The lines of the list."""
    for line in BAD.read_text().splitlines():
        if line and not line.startswith("#"):
            name, versions, why = line.split(maxsplit=2)
            yield name, SpecifierSet(versions), why


def known() -> Iterator[str]:
    """What is installed of the list."""
    for name, versions, why in bad():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if versions.contains(installed, prereleases=True):
            yield f"{name} {installed}: {why}"


def asked() -> tuple[list[str], str]:
    """What pip-audit knows, and why it knows nothing of some packages; "" if it knows all."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], f"pip-audit does not answer: {done.stderr.strip().splitlines()[-1:]}"
    holes = [
        f"{each['name']} {each['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"
        for each in packages
        for hole in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in packages if "skip_reason" in each and each["name"] != "agentspan"]
    return holes, f"the index knows nothing about {len(skipped)} of {len(packages)} packages" if skipped else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
