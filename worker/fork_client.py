"""Have a flow run started by the fork server: hand over environment, directory and output, pass signals on, end as it.

Prefect's worker starts and watches this in place of ``python -m prefect.engine``. It is run as
``python -I -S fork_client.py SOCKET ENGINE`` and imports as little as it can, for its own start is part of the time
between two runs. While the server has not forked, the client can take the run back: it then becomes the engine itself,
as if there were no server.
"""

import os
import signal
import socket
import sys

READY_WITHIN = 5.0  # seconds; the server says that it can fork within milliseconds


def main() -> None:
    forked = hand_over(sys.argv[1])
    if forked is None:
        os.execv(sys.executable, [sys.executable, "-m", sys.argv[2]])
    link, pid = forked
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: os.kill(pid, number))
    code = read_number(link)
    if code is None:  # the server died, and nobody else watches what it forked
        os.kill(pid, signal.SIGKILL)
        os._exit(1)
    end(code)


def hand_over(path: str) -> tuple[socket.socket, int] | None:
    """The link to the server and the pid of the process that it has forked; None: it has not, and will not."""
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(READY_WITHIN)
        link.connect(path)
        variables = [name + b"=" + value for name, value in os.environb.items()]
        request = b"\0".join([os.getcwdb(), *variables])  # noqa: PTH109  pathlib is slow to import
        socket.send_fds(link, [len(request).to_bytes(4, "little")], [0, 1, 2])
        link.sendall(request)
        if link.recv(1) == b"r":  # ready. Without our answer it does not fork, and after it we don't give up
            link.settimeout(None)
            link.sendall(b"f")
            if (pid := read_number(link)) is not None:
                return link, pid
    except OSError:
        pass
    link.close()
    return None


def read_number(link: socket.socket) -> int | None:
    """A number of four bytes; None: the link was closed before."""
    data = b""
    try:
        while len(data) < 4 and (part := link.recv(4 - len(data))):
            data += part
    except OSError:
        return None
    return int.from_bytes(data, "little", signed=True) if len(data) == 4 else None


def end(code: int) -> None:
    """End as the run did: with its exit code, or by its signal."""
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
