"""Start a flow run in the warm process: hand over environment, directory and output, pass signals on, return the code.

This is what Prefect's worker starts and watches instead of ``python -m prefect.engine``. It runs as
``python -I -S fork_client.py SOCKET`` and imports next to nothing, because its own start is most of what is left to
save: of ``socket`` and ``signal`` only what is written in C, which is half of it. Whatever goes wrong before the warm
process has taken the run, the plain command is run in its place.
"""

import _signal as signal  # type: ignore[import-not-found]
import _socket as socket
import marshal
import os
import sys

ANSWER_WITHIN = 5.0  # seconds; the warm process answers in milliseconds


def main() -> None:
    link = hand_over(sys.argv[1])
    if link is None:
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: link.send(bytes([number])))
    status = b""
    while len(status) < 4 and (part := link.recv(4 - len(status))):
        status += part
    if len(status) < 4:
        os._exit(1)  # the warm process was killed, and what it started with it
    end(int.from_bytes(status, "little", signed=True))


def hand_over(path: str) -> socket.socket | None:
    """The link to the warm process, once it has started the run; None: it is not there, or does not want it."""
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(ANSWER_WITHIN)
        link.connect(path)
        request = marshal.dumps((dict(os.environb), os.getcwdb()))  # noqa: PTH109
        output = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
        link.sendmsg([len(request).to_bytes(4, "little")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, output)])
        link.sendall(request)
        if link.recv(1) == b"y":
            link.settimeout(None)
            return link
    except OSError:
        pass
    link.close()
    return None


def end(code: int) -> None:
    """End as the run did: with its code, or by its signal."""
    if code < 0 and -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if code == -signal.SIGKILL:
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(code)


if __name__ == "__main__":
    main()
