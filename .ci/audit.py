"""
Ask pip-audit for known vulnerabilities of what is installed; exit with 1 if there are any.

pip-audit says "No known vulnerabilities" also where it could look up nothing; here that is said in plain words.
"""

import json
import subprocess
import sys


def main() -> int:
    """Run pip-audit on the folder of packages that is given."""
    command = ["pip-audit", "--path", sys.argv[1], "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, FileNotFoundError, ValueError, KeyError) as exc:
        print(f"The vulnerability database cannot be asked here ({type(exc).__name__}); nothing was audited.")
        return 0
    asked = [package for package in packages if "skip_reason" not in package]
    found = [(package, one) for package in asked for one in package["vulns"]]
    for package, one in found:
        print(f"{package['name']} {package['version']}: {one['id']}, fixed in {one['fix_versions'] or 'no version'}")
    if not asked:
        print(
            f"The database knows none of the {len(packages)} packages, it is not reachable here; nothing was audited."
        )
    else:
        print(f"{len(asked)} of {len(packages)} packages audited, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
