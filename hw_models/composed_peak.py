"""The peak of a network's activations from the profiles of its parts alone."""

from __future__ import annotations

from collections.abc import Sequence

from .liveness import MemoryProfile
from .segments import Reads, segments
from .workload import Workload


def composed_peak(workloads: Sequence[Workload], sources: Reads, input_bytes: int) -> int:
    """Return the most bytes alive at once.

    Parts between two places where the network narrows to one tensor are looked at by themselves,
    and once where they repeat.

    Args:
        workloads: Of the parts, in execution order.
        sources: For each of them, the parts whose results it reads; -1: the network's input.
        input_bytes: Of the network's input.
    """
    known: dict[tuple[object, ...], tuple[int, int] | None] = {}
    best = size = input_bytes
    for start, stop, reads, number in segments(sources):
        if stop - start == 1 and len(reads[0]) == 1:
            profile = workloads[start].profile
            if profile.alias is not None:  # the result lives in the memory of what it is made from
                top = size + profile.top
            elif profile.first_last:
                top = profile.peaks.get(size) or profile.peak_with(size)
                size = profile.output_bytes
            else:
                return _peak(workloads, sources, input_bytes)[0]
        else:
            key = (size, number, *workloads[start:stop])
            if key not in known:
                known[key] = _segment_peak(workloads[start:stop], reads, size)
            if (found := known[key]) is None:
                return _peak(workloads, sources, input_bytes)[0]
            top, size = found
        if top > best:
            best = top
    return best


def _segment_peak(
    workloads: Sequence[Workload], reads: Reads, input_bytes: int
) -> tuple[int, int] | None:
    """Return the peak of some parts, and the bytes of the memory in which their result lives.

    None if they do not use what they read, so that the parts before them are not what they seem.
    """
    best, size, used = _peak(workloads, reads, input_bytes)
    return (best, size) if used else None


def _peak(
    workloads: Sequence[Workload], sources: Sequence[tuple[int, ...]], input_bytes: int
) -> tuple[int, int, bool]:
    """Return peak, bytes of the memory in which the result lives, and whether the input is used."""
    count = len(workloads)
    profiles = _profiles(workloads, sources)
    # a memory is named by the part that allocates it; the network's input is memory `count`,
    # which is also what position -1 (the input) of this list says
    memory = [*range(count), count]
    size = [p.output_bytes for p in profiles]
    size.append(input_bytes)
    needed = [*range(count), -1]  # the last part that needs each memory
    for i, profile in enumerate(profiles):
        read = sources[i]
        if len(read) == 1:
            if profile.first_last:
                needed[memory[read[0]]] = i
        else:
            for source, last in zip(read, profile.last, strict=True):
                if last:
                    needed[memory[source]] = i
        if profile.alias is not None:
            memory[i] = memory[read[profile.alias]]
    result = memory[count - 1]
    needed[result] = count  # what the network returns stays
    best = input_bytes
    live = best if needed[count] >= 0 else 0
    for i, profile in enumerate(profiles):
        read, top = sources[i], profile.top
        if len(read) == 1:
            place = memory[read[0]]
            if needed[place] == i and profile.first_last:
                ends = size[place]
                live -= ends
                top = profile.peaks.get(ends) or profile.peak_with(ends)
        elif ending := _ending(i, read, profile, memory, needed):
            for place in ending:
                live -= size[place]
            top = profile.peak(tuple([(last, size[place]) for place, last in ending.items()]))
        if live + top > best:
            best = live + top
        if needed[i] > i and memory[i] == i:
            live += size[i]
    return best, size[result], needed[count] >= 0


def _ending(
    i: int,
    read: tuple[int, ...],
    profile: MemoryProfile,
    memory: Sequence[int],
    needed: Sequence[int],
) -> dict[int, int]:
    """Return the memories that nobody needs after part `i`, with the last step in it that does."""
    ending: dict[int, int] = {}
    for source, last in zip(read, profile.last, strict=True):
        place = memory[source]
        if last and needed[place] == i and last > ending.get(place, 0):
            ending[place] = last
    return ending


def _profiles(
    workloads: Sequence[Workload], sources: Sequence[tuple[int, ...]]
) -> list[MemoryProfile]:
    """Return the profile of each part, given whether anything really uses its output."""
    count = len(workloads)
    kept = [False] * (count + 1)  # the last is the network's input
    kept[count - 1] = True
    profiles: list[MemoryProfile] = []
    for i in range(count - 1, -1, -1):
        work, read = workloads[i], sources[i]
        profile = work.profile if kept[i] else work.profile_unread
        profiles.append(profile)
        if len(read) == 1:
            if profile.first_last:
                kept[read[0]] = True
        else:
            for source, last in zip(read, profile.last, strict=True):
                if last:
                    kept[source] = True
        if profile.alias is not None and kept[i]:
            kept[read[profile.alias]] = True
    profiles.reverse()
    return profiles
