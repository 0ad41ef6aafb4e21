"""What is measured inside a test host. Prints milliseconds.

inside.py comfyui           every ComfyUI of the rendered units, started at once without systemd, until all answer
inside.py pm2 FOLDER COUNT  COUNT Node services started by PM2, from nothing to all answering
"""

import glob
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

NODE = "/usr/lib/comfy-machine/bin/node"
REQUEST = b"GET /system_stats HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
DEADLINE_S = 120


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(REQUEST)
            return connection.recv(16).startswith(b"HTTP/1.1 ")
    except ConnectionError:
        return False


def until_all_answer(ports):
    waiting = list(ports)
    limit = time.monotonic() + DEADLINE_S
    while True:
        # In order of their start: one that does not listen yet is asked again, the others later.
        while waiting and answers(waiting[0]):
            waiting.pop(0)
        if not waiting:
            return
        if time.monotonic() > limit:
            sys.exit(f"no answer on {waiting}")
        time.sleep(0.005)


def comfyui():
    processes, ports = [], []
    begun = time.monotonic()
    for name in sorted(glob.glob("/run/systemd/system/comfyui@*.service")):
        with open(name) as unit:
            text = unit.read()
        setting = lambda key: re.findall(rf"^{key}=(.*)$", text, re.M)
        argv = shlex.split(setting("ExecStart")[0])
        ports.append(int(argv[argv.index("--port") + 1]))
        env = {**os.environ, **dict(pair.split("=", 1) for pair in setting("Environment"))}
        processes.append(
            subprocess.Popen(
                argv, cwd=setting("WorkingDirectory")[0], env=env, user="comfy", group="comfy",
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
        )
    until_all_answer(ports)
    ended = time.monotonic()
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        process.wait()
    return ended - begun


def pm2(folder, count):
    ports = [20000 + index for index in range(count)]
    apps = [
        {"name": f"s{port}", "script": "/opt/bench/service.cjs", "args": str(port), "interpreter": NODE}
        for port in ports
    ]
    with open("/tmp/pm2.json", "w") as file:
        json.dump({"apps": apps}, file)
    env = {**os.environ, "PM2_HOME": "/tmp/pm2", "PATH": f"{os.path.dirname(NODE)}:{os.environ['PATH']}"}
    run = lambda *args: subprocess.run([NODE, f"{folder}/pm2/bin/pm2", *args], env=env, stdout=subprocess.DEVNULL, check=True)
    begun = time.monotonic()
    run("start", "/tmp/pm2.json")
    until_all_answer(ports)
    ended = time.monotonic()
    run("kill")
    return ended - begun


COMMANDS = {"comfyui": lambda: comfyui(), "pm2": lambda folder, count: pm2(folder, int(count))}
print(f"{COMMANDS[sys.argv[1]](*sys.argv[2:]) * 1000:.1f}")
