"""Check that everything that is installed with prunekit has a licence that lets anybody use it; exit with 1 if not."""

import re
import sys
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement

ALLOWED = (
    r"MIT(-CMU)?( License)?",
    r"(New |Modified )?(0BSD|BSD)( License)?|BSD[- ]?[23][- ]Clause( License)?|[23][- ]Clause BSD( License)?",
    r"Apache([- ]2(\.0)?)?( License)?|Apache Software License( 2\.0)?|Apache License,? Version 2\.0|LLVM-exception",
    r"ISC( License( \(ISCL\))?)?",
    r"PSF-2\.0|Python Software Foundation License|CNRI-Python",
    r"MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)",
    r"Zlib|CC0-1\.0|BSL-1\.0|HPND|Unlicense|The Unlicense \(Unlicense\)|Public Domain",
)
"""Copyleft of single files (MPL) is allowed, for nothing of them is copied into prunekit; GPL and unknown are not."""

EXCEPTIONS = {
    r"(nvidia|cuda)-.*": "comes with torch's builds for CUDA, under NVIDIA's own terms; builds for the CPU have none",
}
EXTRAS = ("plot", "accelerate", "dask", "ray", "onnx")


def needed(name: str, extras: tuple[str, ...], seen: dict[str, metadata.Distribution]) -> None:
    """Note a package and all that it needs, as far as it is installed."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return
    if key in seen and not extras:
        return
    seen[key] = found
    for text in found.requires or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            needed(requirement.name, tuple(requirement.extras), seen)


def licences(found: metadata.Distribution) -> Iterator[str]:
    """Return the names of the licences of a package, of which all hold, or any."""
    own = found.metadata
    expression = own.get("License-Expression")
    classifiers = [line.rpartition("::")[2].strip() for line in own.get_all("Classifier", []) if "License ::" in line]
    short = (own.get("License") or "").strip().splitlines()[:1]
    if expression or not classifiers:
        text = expression or (short[0] if short else "")
        yield from (part.strip(" ()") for part in re.split(r"\b(?:AND|OR|WITH)\b", text))
    else:
        yield from classifiers


def main() -> int:
    """Check all."""
    seen: dict[str, metadata.Distribution] = {}
    needed("prunekit", EXTRAS, seen)
    wrong = []
    for name, found in sorted(seen.items()):
        reason = next((text for pattern, text in EXCEPTIONS.items() if re.fullmatch(pattern, name)), None)
        if reason is not None:
            print(f"{name}: {reason}")
            continue
        own = list(licences(found))
        if not own or not all(re.fullmatch("|".join(ALLOWED), licence, re.IGNORECASE) for licence in own):
            wrong.append(f"{name} {found.version}: {', '.join(own) or 'no licence told'}")
    for line in wrong:
        print(line)
    print(f"{len(seen)} packages, {len(wrong)} with a licence that is not on the list")
    return 1 if wrong or len(seen) < 10 else 0


if __name__ == "__main__":
    sys.exit(main())
