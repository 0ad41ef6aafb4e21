import path from 'node:path'
import { machineEnv, secretsEnv } from '../fixtures/machine-env.ts'
import type { Host } from '../host/host.ts'
import { bootInstalledHost } from '../host/installed.ts'

/** How a benchmark is run. */
export interface BenchOptions {
  /** Fewer rounds. */
  readonly quick: boolean
  /** Numbers of mock GPUs of the benchmarks that vary them. */
  readonly gpus: readonly number[]
  /** Columns of the benchmark of models, by name. */
  readonly columns: readonly string[]
}

const INSIDE = '/opt/bench/inside.py'
const UNITS = "'comfy-*.service' 'comfy-*.socket' 'comfyui@*.service' 'redis-worker@*.service' comfy-machine.target"

/** Boots a host with the package and a machine of `gpus` mock GPUs that has been started once, so that everything is installed. */
export async function bootMachine(gpus: number): Promise<Host> {
  const host = await bootInstalledHost({ name: 'bench' })
  try {
    await host.write('/etc/comfy-machine/machine.env', machineEnv({ MOCK_GPU_NUM: String(gpus) }))
    await host.write('/etc/comfy-machine/secrets.env', secretsEnv(), '0600')
    await host.copyIn(path.join(import.meta.dirname, 'inside'), path.dirname(INSIDE))
    await startMachine(host)
    return host
  } catch (error) {
    await host.stop()
    throw error
  }
}

/** Starts the machine; milliseconds from the call of systemctl to its return, which is READY=1. */
export async function startMachine(host: Host): Promise<number> {
  return await timed(host, 'systemctl start comfy-machine')
}

/** Stops the controller and everything it started; what was installed stays. */
export async function stopMachine(host: Host): Promise<void> {
  await host.must(`systemctl stop comfy-machine && systemctl stop ${UNITS}; systemctl reset-failed ${UNITS}; true`)
}

/** Milliseconds that a command line took inside, by the host's own clock; one that fails throws with what it said. */
export async function timed(host: Host, command: string): Promise<number> {
  const line = `s=$EPOCHREALTIME; ${command} >/tmp/bench.log 2>&1; rc=$?; e=$EPOCHREALTIME; echo "$rc $(((\${e/./} - \${s/./})))"`
  const [code, us] = (await host.must(line, { timeoutMs: 300_000 })).trim().split(' ').map(Number)
  if (code !== 0 || us === undefined) {
    const log = await host.must('cat /tmp/bench.log; comfy-machine status; systemctl --failed; true')
    throw new Error(`${command} ended with code ${code}\n${log}`)
  }
  return us / 1000
}

/** Runs a command of `inside/inside.py` and returns the milliseconds that it prints. */
export async function inside(host: Host, ...args: readonly (string | number)[]): Promise<number> {
  const printed = await host.must(['python3', INSIDE, ...args.map(String)], { timeoutMs: 300_000 })
  return Number(printed.trim())
}

/** Says on standard error what is being measured, so that tables stay alone on standard output. */
export function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`)
}
