"""What an exporter of traces costs, measured inside a test host. Prints JSON.

telemetry.py ours COUNT  comfy-machine telemetry, draining the outbox that telemetry-outbox.mjs has filled
telemetry.py sdk COUNT   the SDK's tracer, BatchSpanProcessor and OTLP gRPC exporter, with the same spans
telemetry.py none COUNT  the SDK's tracer alone: the spans are made and thrown away

wallMs: from the start of the process until the sink has the last span; cpuMs: user and system time of the whole process;
peakMB: the most memory it had at a time; sink: what the sink counted, by span ids.
"""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

NODE = "/usr/lib/comfy-machine/bin/node"
# As comfy-telemetry.service runs it.
OURS = [NODE, "--max-semi-space-size=4", "/usr/lib/comfy-machine/main.js", "telemetry"]
PORT = "4318"
DEADLINE_S = 60
TELEMETRY = "/var/lib/comfy-machine/telemetry"


def fill(count):
    # The outbox is made once and lies beside the others: what is measured is its delivery.
    made = f"/var/lib/bench/{count}"
    if not os.path.exists(made):
        subprocess.run([NODE, "/opt/bench/telemetry-outbox.mjs", made, count], check=True)
    shutil.rmtree(TELEMETRY)
    os.makedirs(f"{TELEMETRY}/delivered")
    os.rename(made, f"{TELEMETRY}/bench")
    return lambda: os.rename(f"{TELEMETRY}/bench", made)


def delivered():
    with open(f"{TELEMETRY}/delivered/bench.json") as file:
        return json.load(file)["spans"]


def measure(way, count):
    argv = OURS if way == "ours" else [NODE, "/opt/bench/telemetry-sdk.mjs", way, count]
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{PORT}"}
    empty = fill(count) if way == "ours" else lambda: None
    sink = subprocess.Popen([NODE, "/opt/bench/telemetry-sink.mjs", PORT, count], stdout=subprocess.PIPE, text=True)
    sink.stdout.readline()
    begun = time.monotonic()
    exporter = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if way != "none" and not select.select([sink.stdout], [], [], DEADLINE_S)[0]:
        sys.exit(f"{way}: not everything came within {DEADLINE_S} s")
    wall = time.monotonic() - begun
    if way == "ours":
        # It would wait for more.
        exporter.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(exporter.pid, 0)
    if way == "none":
        wall = time.monotonic() - begun
    sink.send_signal(signal.SIGTERM)
    counted = json.loads(sink.stdout.read().split()[-1])
    sink.wait()
    if status != 0 or (way == "ours" and delivered() != int(count)):
        sys.exit(f"{way} ended with {status}: {counted}")
    empty()
    cpu = usage.ru_utime + usage.ru_stime
    return {"wallMs": wall * 1e3, "cpuMs": cpu * 1e3, "peakMB": usage.ru_maxrss * 1024 / 1e6, "sink": counted}


print(json.dumps(measure(sys.argv[1], sys.argv[2])))
