"""A web service on asyncio whose CPU-bound requests do not block each other.

GET /N answers with the number of primes below N; what takes two seconds is stopped.

    python examples/web_service.py [PORT]      without a port: serve a few and exit
"""

import asyncio
import sys

from subinterpreters import InterpreterPoolExecutor


def count_primes(below):
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, below))


async def answer(pool, reader, writer):
    request = await reader.readline()
    while (await reader.readline()).strip():
        pass
    try:
        below = int(request.split()[1].lstrip(b"/"))
        async with asyncio.timeout(2):
            status, body = "200 OK", str(await pool.run(count_primes, below))
    except TimeoutError:
        status, body = "503 Service Unavailable", "that takes too long"
    except (ValueError, IndexError):
        status, body = "400 Bad Request", "ask for /N"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close"
    writer.write(f"{head}\r\n\r\n{body}".encode())
    await writer.drain()
    writer.close()


async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    print(path, text.split("\r\n\r\n")[1])


async def main():
    async with InterpreterPoolExecutor() as pool:
        port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
        server = await asyncio.start_server(
            lambda reader, writer: answer(pool, reader, writer), "127.0.0.1", port
        )
        async with server:
            if port:
                await server.serve_forever()
            port = server.sockets[0].getsockname()[1]
            paths = ["/1000", "/20000", "/spam", "/1000000000"]
            await asyncio.gather(*(ask(port, path) for path in paths))


if __name__ == "__main__":
    asyncio.run(main())
