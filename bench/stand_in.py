"""An SSH server that stands in for thousands of nodes, on any address of 127/8: the SSH of asyncssh, and answers learned from a real shell.

    stand_in.py PORT HOST_KEY AUTHORIZED_KEYS

A real sshd costs two processes and 2 MiB for each connection, and the scripts of ten thousand nodes more CPU than this machine has: what is
measured would be the nodes. So a question that is new is put to a real /bin/sh, and whoever asks the same again (but for the tokens in it)
gets the same answer at once, with the new tokens.
"""

import asyncio
import re
import socket
import sys

import asyncssh

# Linux' number for it; Python has no name for it.
SO_BINDTODEVICE = 25
TOKEN = re.compile(rb"\b[0-9a-f]{16}\b")
# The line that ends a question, after which a held shell answers.
END_OF_QUESTION = re.compile(rb"^_hc [0-9a-f]{16}\b.*\n", re.MULTILINE)
# That a question takes too long is no part of the next one.
IMPATIENCE = re.compile(rb"^_hs [0-9a-f]{16}\b.*\n", re.MULTILINE)
# How a new shell begins.
OPENING = b"exec 3>&1"
# What ends a held shell with all that runs in it.
STOP = b"\nkill -s KILL -- -$$\n"
# How long the real shell is listened to for more, once it has said something.
QUIET_S = 0.5


def without_tokens(text):
    """The text with each token named by the order of its first appearance, and the tokens."""
    tokens = []

    def name(found):
        if found[0] not in tokens:
            tokens.append(found[0])
        return b"@%d@" % tokens.index(found[0])

    return TOKEN.sub(name, text), tokens


class Teacher:
    """Real shells that are asked each question once."""

    def __init__(self):
        self.shell = None
        self.turn = asyncio.Lock()
        self.answers = {}

    async def answer(self, question):
        plain, tokens = without_tokens(question)
        if plain not in self.answers:
            async with self.turn:
                if plain not in self.answers:
                    self.answers[plain] = await self.learn(question, tokens)
        return re.sub(rb"@(\d+)@", lambda found: tokens[int(found[1])], self.answers[plain])

    async def learn(self, question, tokens):
        if OPENING in question:
            pipe = asyncio.subprocess.PIPE
            self.shell = await asyncio.create_subprocess_exec("/bin/sh", stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        self.shell.stdin.write(question)
        said = await self.shell.stdout.read(65536)
        while True:
            try:
                said += await asyncio.wait_for(self.shell.stdout.read(65536), QUIET_S)
            except TimeoutError:
                break
        for index, token in enumerate(tokens):
            said = said.replace(token, b"@%d@" % index)
        return said


async def run(process, program):
    """Anything but a held shell is run as it is."""
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("/bin/sh", stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    child.stdin.write(program)
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    process.exit(await child.wait())


async def serve(process, teacher):
    """A held shell, as far as its questions go."""
    text, heard = await process.stdin.read(65536), b""
    if not text.startswith(OPENING):
        return await run(process, text)
    while text:
        heard += text
        if STOP in heard:
            return process.exit_with_signal("KILL")
        while end := END_OF_QUESTION.search(heard):
            question, heard = IMPATIENCE.sub(b"", heard[: end.end()]), heard[end.end() :]
            process.stdout.write(await teacher.answer(question))
        text = await process.stdin.read(65536)
    process.exit(0)


async def main(port, host_key, authorized_keys):
    # Every loopback address, and no other interface.
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
    listener.bind(("0.0.0.0", port))
    teacher = Teacher()
    server = await asyncssh.listen(
        sock=listener,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        process_factory=lambda process: serve(process, teacher),
        encoding=None,
        backlog=4096,
        login_timeout=300,
        compression_algs=None,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
