"""An SSH server that stands in for thousands of nodes: the SSH of asyncssh, a real /bin/sh behind every session, any address of 127/8.

    stand_in.py PORT HOST_KEY AUTHORIZED_KEYS

A real sshd costs two processes and 2 MiB for each connection, which ten thousand nodes on one machine do not leave room for.
"""

import asyncio
import socket
import sys

import asyncssh

# Linux' number for it; Python has no name for it.
SO_BINDTODEVICE = 25


async def session(process):
    """What sshd does: the command, or a shell, with the session as its standard streams."""
    command = ["/bin/sh", "-c", process.command] if process.command else ["/bin/sh"]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    try:
        await process.redirect(stdin=child.stdin, stdout=child.stdout)
        process.exit(await child.wait())
    except asyncio.CancelledError:
        child.kill()
        raise


async def main(port, host_key, authorized_keys):
    # Every loopback address, and no other interface.
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
    listener.bind(("0.0.0.0", port))
    server = await asyncssh.listen(
        sock=listener,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=session,
        encoding=None,
        backlog=4096,
        login_timeout=300,
        compression_algs=None,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
