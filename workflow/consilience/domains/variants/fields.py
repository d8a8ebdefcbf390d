"""Which INFO fields of a study's files are read: none whose mere presence says which file of a bench a call is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consilience.domains.variants.benches import Bench
from consilience.domains.variants.vcf import declared, refuse_answers


@dataclass(frozen=True)
class Fields:
    """The attributes that a file declares, in the order asked for, and the fields that are not read.

    `one_sided` has, by field, the file that does not declare what the other one of its bench does.
    """

    attributes: tuple[str, ...]
    one_sided: Mapping[str, str]


def fields_of(benches: Sequence[Bench], attributes: Sequence[str]) -> Fields:
    """Return which fields of the files are read; refuses attributes that hold the answer or are not one number."""
    refuse_answers(attributes)
    found: set[str] = set()
    one_sided: dict[str, str] = {}
    for bench in benches:
        true, false = (declared(path, attributes) for path, _ in bench.files)
        found |= true | false
        for name in sorted(true ^ false):
            path = bench.true if name in false else bench.false
            one_sided.setdefault(name, f"{path.parent.name}/{path.name}")
    kept = tuple(name for name in attributes if name in found and name not in one_sided)
    return Fields(kept, one_sided)
