"""The CRC-32 of what is read and copied.

All bytes of a file and of its copy go through it. python-isal, which the extra `collector[fast]` brings, takes a tenth
of zlib's time; the sums are the same.
"""

try:
    from isal.isal_zlib import crc32
except ImportError:  # the extra is not installed
    from zlib import crc32

__all__ = ["crc32"]
