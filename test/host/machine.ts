import { machineEnv, type Settings, secretsEnv } from '../fixtures/machine-env.ts'
import { type ReceivedSpan, readSpans } from '../fixtures/spans.ts'
import type { Result } from './command.ts'
import type { Host } from './host.ts'
import { bootInstalledHost } from './installed.ts'

/** One step as `comfy-machine status --json` shows it. */
export interface StepRow {
  readonly number: number
  readonly title: string
  readonly event: string
  readonly phase: string
  readonly state: string
  readonly start: string | null
  readonly duration_ms: number | null
  readonly attempts: number
  readonly attributes: Readonly<Record<string, unknown>>
}

/** What `comfy-machine status --json` says, as far as the tests read it. */
export interface Status {
  readonly phase: string
  readonly trace_id: string
  readonly machine_id: string
  readonly agent: { readonly pid: number; readonly alive: boolean }
  readonly steps: readonly StepRow[]
  readonly failing: readonly {
    readonly step: number
    readonly code: string
    readonly unit: string
    readonly hint: string
  }[]
  readonly workers: readonly { readonly id: string }[]
}

/** What `/ready` answered. */
export interface Readiness {
  readonly code: number
  readonly ready: boolean
  readonly failing: readonly {
    readonly step: number
    readonly code: string
    readonly unit: string
    readonly message: string
    readonly hint: string
  }[]
}

/** One journal entry: field names to text; a field that occurs several times is its first value. */
export type JournalLine = Readonly<Record<string, string>>

/** Every unit of the ordinary machine with two mock GPUs that must be active when it is ready. */
export const WANTED_UNITS = [
  'comfy-health.service',
  'comfy-install-comfyui.service',
  'comfy-discover.service',
  'comfy-install-nodes.service',
  'comfy-install-models.service',
  'comfyui@gpu0.service',
  'comfyui@gpu1.service',
  'redis-worker@gpu0.service',
  'redis-worker@gpu1.service',
] as const

/** The workspace of a machine by default. */
export const WORKSPACE = '/var/lib/comfy-machine'

/** Boots an installed host and writes the ordinary configuration with these changes; nothing is started. */
export async function bootMachine(name: string, overrides: Settings = {}): Promise<Host> {
  const host = await bootInstalledHost({ name })
  await configure(host, overrides)
  return host
}

/** Replaces the host's configuration by the ordinary one with these changes. */
export async function configure(host: Host, overrides: Settings = {}, secrets: Settings = {}): Promise<void> {
  await host.write('/etc/comfy-machine/machine.env', machineEnv(overrides))
  await host.write('/etc/comfy-machine/secrets.env', secretsEnv(secrets), '0600')
}

/** `systemctl start comfy-machine`; returns when the start has ended, well or not. */
export async function start(host: Host): Promise<Result> {
  return host.exec(['systemctl', 'start', 'comfy-machine'], { timeoutMs: 120_000 })
}

/** Starts the machine and throws with its status and its errors when it does not become ready. */
export async function startToReady(host: Host): Promise<void> {
  const { code } = await start(host)
  if (code === 0) return
  const said = await host.exec(
    'comfy-machine status; journalctl -b -p err -o short-monotonic -n 40; journalctl -b -u comfyui@gpu0 -o cat -n 12',
  )
  throw new Error(`the machine did not start\n${said.stdout}${said.stderr}`)
}

/** Ends the machine, and a restart that systemd has scheduled. */
export async function stop(host: Host): Promise<void> {
  await host.must('systemctl stop comfy-machine && systemctl reset-failed comfy-machine 2>/dev/null || true')
}

/** What `comfy-machine status --json` says. */
export async function readStatus(host: Host): Promise<Status> {
  const { stdout } = await host.exec(['comfy-machine', 'status', '--json'])
  return JSON.parse(stdout) as Status
}

/** What the health server answers for a path. */
export async function get(host: Host, path: string): Promise<{ readonly code: number; readonly body: string }> {
  const url = `http://127.0.0.1:9090${path}`
  const { stdout } = await host.exec(['curl', '-sS', '--max-time', '5', '-w', '\n%{http_code}', url])
  const at = stdout.lastIndexOf('\n')
  return { code: Number(stdout.slice(at + 1)), body: stdout.slice(0, at) }
}

/** What `/ready` answers. */
export async function readReady(host: Host): Promise<Readiness> {
  const { code, body } = await get(host, '/ready')
  return { ...(JSON.parse(body) as Omit<Readiness, 'code'>), code }
}

/** Entries of this boot's journal that fit the matches and options of journalctl(1), oldest first. */
export async function readJournal(host: Host, ...matches: readonly string[]): Promise<readonly JournalLine[]> {
  const text = await host
    .must(['journalctl', '--sync', '--quiet'])
    .then(() => host.must(['journalctl', '-b', '-q', '-o', 'json', '--all', ...matches]))
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => toLine(JSON.parse(line) as Readonly<Record<string, unknown>>))
}

function toLine(entry: Readonly<Record<string, unknown>>): JournalLine {
  const text = (value: unknown): string => String(Array.isArray(value) ? value[0] : value)
  return Object.fromEntries(Object.entries(entry).map(([name, value]) => [name, text(value)]))
}

/** Properties of a unit; timestamps are microseconds since the epoch (`@…` of --timestamp=us+utc is not needed by callers). */
export async function show(
  host: Host,
  unit: string,
  ...names: readonly string[]
): Promise<Readonly<Record<string, string>>> {
  const text = await host.must(['systemctl', 'show', '--timestamp=us+utc', '-p', names.join(','), unit])
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

/** Microseconds since the epoch of a timestamp as `show` returns it, e.g. `Mon 2026-11-23 20:16:33.470361 UTC`. */
export function toMicroseconds(timestamp: string): number {
  const [, date = '', time = '', fraction = ''] = /(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)\.(\d{6})/.exec(timestamp) ?? []
  return Date.parse(`${date}T${time}Z`) * 1000 + Number(fraction)
}

/** InvocationID of the machine's service: the trace id of its latest start. */
export async function invocationOf(host: Host, unit = 'comfy-machine.service'): Promise<string> {
  return (await show(host, unit, 'InvocationID'))['InvocationID'] ?? ''
}

/** The spans of one trace, as soon as its root has arrived; throws with the names that did after `timeoutMs`. */
export async function waitForTrace(host: Host, traceId: string, timeoutMs = 20_000): Promise<readonly ReceivedSpan[]> {
  const until = Date.now() + timeoutMs
  for (;;) {
    const spans = (await readSpans(host)).filter((span) => span.traceId === traceId)
    if (spans.some((span) => span.parentSpanId === '')) return spans
    if (Date.now() > until)
      throw new Error(`no root of ${traceId} arrived, only ${spans.map(({ name }) => name).join(', ')}`)
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Inode and time of change of everything that a start installs: generations, their packages, custom nodes, models. */
export async function installedThings(host: Host): Promise<ReadonlyMap<string, string>> {
  const places =
    'comfyui/generations/* comfyui/generations/*/venv/bin/python custom_nodes/*/__init__.py models/*/*.safetensors'
  const text = await host.must(
    `cd ${WORKSPACE} && shopt -s nullglob && for f in ${places}; do stat -L -c "%n %i $([ -d $f ] || echo %Y)" $f; done`,
  )
  return new Map(
    text
      .trim()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  )
}
