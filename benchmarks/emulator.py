"""Inline invocations that the emulator serves per second of its CPU.

The emulator runs in a process of its own. The client is a plain socket loop, so that it is the
emulator that is measured; the figure is the emulator's CPU time as the system accounts it, so
that neither the client nor the neighbours count. "accepted" is up to the last 202; "whole" also has
the inference (``echo``, no service time), the output object and the event.

    python -m benchmarks.emulator --count 30000
"""

import argparse
import re
import selectors
import socket
import subprocess
import sys
import time

import psutil

HEAD = (
    "POST /endpoints/bench/async-invocations HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "X-Amzn-SageMaker-Content-Type: application/json\r\n"
    "X-Amzn-SageMaker-Inference-Id: bench-{number:012d}\r\n"
    "X-Amzn-SageMaker-Filename: bench-{number:012d}.out\r\n"
    "X-Amzn-SageMaker-S3OutputPathExtension: bench/{shard:08d}\r\n"
    "X-Amz-Date: 20260101T000000Z\r\n"
    "Authorization: AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/sagemaker/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64 + "\r\n"
    "Content-Length: {length}\r\n"
    "\r\n"
)


def invoke(port: int, count: int, connections: int, size: int) -> float:
    """Send ``count`` invocations and await every 202; return the seconds it took."""
    body = b'{"text":"' + b"x" * (size - 11) + b'"}'
    selector = selectors.DefaultSelector()

    def send(client: socket.socket, number: int) -> None:
        head = HEAD.format(number=number, shard=number // 1000, length=len(body))
        client.sendall(head.encode() + body)

    began = time.perf_counter()
    sent = done = 0
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(client, selectors.EVENT_READ, client)
        send(client, sent)
        sent += 1
    while done < count:
        for key, _ in selector.select():
            answer = key.data.recv(65536)
            if not answer.startswith(b"HTTP/1.1 202"):
                raise SystemExit(f"not accepted: {answer[:300]!r}")
            done += 1
            if sent < count:
                send(key.data, sent)
                sent += 1
    for key in list(selector.get_map().values()):
        key.data.close()
    return time.perf_counter() - began


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def settled_cpu_seconds(process: psutil.Process) -> float:
    """Wait until the process is idle and return its CPU time."""
    before = -1.0
    while (now := cpu_seconds(process)) > before:
        before = now
        time.sleep(1)
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--size", type=int, default=1_000, help="bytes of a body")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    command = [sys.executable, "-m", "dispatcher", "emulate", "--port", "0"]
    command += ["--endpoint", "bench", "--service-time", "0ms", "--instances", "1000"]
    print(
        f"{options.count:,} invocations of {options.size:,} B on {options.connections} connections"
    )
    print("run  wall/s  accepted per CPU second  whole per CPU second")
    for run in range(1, options.runs + 1):
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            assert server.stdout is not None
            found = re.search(r":(\d+)$", server.stdout.readline())
            assert found, "the emulator did not start"
            process = psutil.Process(server.pid)
            before = settled_cpu_seconds(process)
            seconds = invoke(int(found[1]), options.count, options.connections, options.size)
            accepted = cpu_seconds(process) - before
            whole = settled_cpu_seconds(process) - before
            server.terminate()
        rate = options.count / seconds
        print(
            f"{run:>3}  {rate:>6,.0f}  {options.count / accepted:>23,.0f}"
            f"  {options.count / whole:>20,.0f}"
        )


if __name__ == "__main__":
    main()
