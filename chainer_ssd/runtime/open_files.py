"""The limit of open files of this process."""

from __future__ import annotations

RESERVE = 256  # files of the program itself: data, libraries, pipes of data workers


def raise_open_file_limit(n_file: int) -> bool:
    """Allow ``n_file`` open files beside those of the program, as far as the system permits.

    Parameters
    ----------
    n_file : int
        Number of files.

    Returns
    -------
    bool
        Whether so many files can be open now.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return True
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = n_file + RESERVE
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # a limit of the whole system, as on macOS
        return False
    return limit >= needed
