"""The stat of a file or a directory, and what it proves of a later one."""

import os

import attrs

_SECOND_NS = 1_000_000_000
_TICK_NS = 50_000_000  # a tick has 1 to 10 ms
_LONG_TICK_NS = 3 * _SECOND_NS  # where times have whole seconds, or even ones only, as on FAT


@attrs.frozen
class FileStat:
    """A stat, and when it was taken. Of a directory it changes with every name that is put in, replaced or removed."""

    inode: int
    size: int
    modified_ns: int
    changed_ns: int  # unlike the time of modification, nobody can set it back
    made_ns: int = attrs.field(eq=False)  # when the system was asked

    @classmethod
    def of(cls, found: os.stat_result, made_ns: int) -> "FileStat":
        """What the system answered when it was asked at that time of its own clock."""
        return cls(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, made_ns)

    def proves(self, later: "FileStat") -> bool:
        """Whether all is the same as at the later stat.

        The system's times advance in ticks. A second change within one tick leaves no trace in them, so the stamp of
        what had changed just before proves nothing.
        """
        tick_ns = _TICK_NS if self.changed_ns % _SECOND_NS else _LONG_TICK_NS
        return self == later and self.made_ns - self.changed_ns > tick_ns
