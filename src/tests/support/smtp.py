"""A mail server for tests: writes what it is given to the file `mailbox`, a JSON object a line, each recipient it
is asked about to the file `asked`, and its port to standard output."""
import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

mode = sys.argv[1]
greylisted = set()


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        with open("asked", "a") as asked:
            asked.write(address + "\n")
        if address.startswith("refused@"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later@"):
            return "451 4.7.1 greylisted, come back later"
        if address.startswith("grey@") and address not in greylisted:
            greylisted.add(address)
            return "451 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        entry = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers_to": mail["To"],
            "subject": mail["Subject"],
            "id": mail["Message-ID"],
            "auto": mail["Auto-Submitted"],
            "date": mail["Date"],
            "tls": session.ssl is not None or mode == "Tls",
            "login": bool(session.authenticated),
            "text": mail.get_content(),
        }
        with open("mailbox", "a") as mailbox:
            mailbox.write(json.dumps(entry) + "\n")
        if envelope.rcpt_tos[0].startswith("lost@"):
            # The mail is taken, and nobody is told.
            server.transport.abort()
        return "250 2.0.0 accepted as %d" % len(open("mailbox").readlines())


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"user", b"pa:ss@word")
    return AuthResult(success=good, handled=good)


def protocol():
    tls = context if mode == "StartTls" else None
    guarded = mode in ("StartTls", "Tls")
    return SMTP(
        Handler(),
        enable_SMTPUTF8=True,
        tls_context=tls,
        require_starttls=tls is not None,
        auth_required=guarded,
        auth_require_tls=mode == "StartTls",
        authenticator=authenticate if guarded else None,
        loop=asyncio.get_running_loop(),
    )


async def main():
    loop = asyncio.get_running_loop()
    factory = asyncio.Protocol if mode == "Silent" else protocol
    server = await loop.create_server(factory, "127.0.0.1", int(sys.argv[2]), ssl=context if mode == "Tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
asyncio.run(main())
