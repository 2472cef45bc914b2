# ASGI: / at once, /slow after a tenth of a second.
import asyncio
import os
import signal

VERSION = os.environ.get("HANDOFF_VERSION", "none")
GENERATION = os.environ.get("HANDOFF_GENERATION", "none")
LAME_DUCK_S = 2
draining = False


def drain():
    """Uvicorn itself, on SIGTERM, closes kept connections at once, perhaps just as a request is on its way."""
    global draining
    draining = True
    asyncio.get_running_loop().call_later(LAME_DUCK_S, os.kill, os.getpid(), signal.SIGTERM)


async def lifespan(receive, send):
    await receive()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, drain)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.1)
    body = f"version {VERSION} (generation {GENERATION}, pid {os.getpid()})\n".encode()
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", str(len(body)).encode()),
        (b"x-version", VERSION.encode()),
        (b"x-generation", GENERATION.encode()),
    ]
    if draining:  # The client learns here that it must open another connection.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
