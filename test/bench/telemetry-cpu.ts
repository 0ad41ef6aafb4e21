import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Plugin } from 'esbuild'
import { buildProgram } from '../../packaging/build.ts'
import type { Host } from '../host/host.ts'
import { projectRoot } from '../host/paths.ts'
import { type Finding, median, type Sample, shown, spread, table } from './figures.ts'
import { type BenchOptions, bootMachine, say, startMachine, stopMachine } from './machine.ts'

const PROGRAM = '/usr/lib/comfy-machine'
const NODE = `${PROGRAM}/bin/node`
const CPU_FILE = '/sys/fs/cgroup/system.slice/comfy-machine.service/cpu.stat'
const GOAL_MS = 50

// What replaces a module's exports in the controller that keeps no trace; everything else of the module stays.
const WITHOUT_TRACE: Readonly<Record<string, string>> = {
  'emit/spans.ts': 'export const stepSpans = () => []',
  'emit/root-spans.ts':
    "export const startupSpan = () => ({ spanId: '' }); export const incidentSpan = startupSpan; export const recoverySpan = startupSpan",
  'trace.ts':
    'export const keepTrace = async () => {}; export const startDelivery = keepTrace; export const requestDelivery = keepTrace',
  'previous.ts': 'export const readPrevious = async () => undefined; export const keepPhase = readPrevious',
}

const noTrace: Plugin = {
  name: 'no-trace',
  setup(build) {
    for (const [name, exports] of Object.entries(WITHOUT_TRACE)) {
      const file = path.join(projectRoot, 'src', name)
      build.onLoad({ filter: new RegExp(`/src/${name.replace('.', '\\.')}$`) }, ({ suffix }) =>
        suffix === '?real' ? undefined : { contents: `export * from '${file}?real'; ${exports}`, loader: 'ts' },
      )
    }
    build.onResolve({ filter: /\?real$/ }, (args) => ({ path: args.path.slice(0, -5), suffix: '?real' }))
  },
}

// Writes the reports that the units of the last startup have left again and again; prints the number of lines, and milliseconds of CPU for all.
const WRITE_REPORTS = `
const fs = require('node:fs')
const lines = fs.globSync('/run/comfy-machine/*/report.ndjson').flatMap((file) => fs.readFileSync(file, 'utf8').trim().split('\\n'))
const records = lines.map((line) => JSON.parse(line))
const fd = fs.openSync('/run/bench-report', 'w')
const before = process.cpuUsage()
for (let round = 0; round < 100; round += 1) for (const record of records) fs.writeSync(fd, JSON.stringify(record) + '\\n')
const { user, system } = process.cpuUsage(before)
console.log(lines.length, (user + system) / 1e3 / 100)`

/**
 * CPU that one startup's trace costs the controller. Method: the same startup of two mock GPUs, in turn by the controller as it is and
 * by one built from the same sources without the trace (no spans, no outbox, no marks, no record of the startup, no start of the
 * delivery); the CPU time of its cgroup until READY=1, and the difference pair by pair. What unit processes report is read for the
 * state as well, and is in both; their part is the writing of the lines, measured alone by a process that writes the same ones.
 */
export async function benchTelemetryCpu(options: BenchOptions): Promise<readonly Finding[]> {
  const rounds = options.quick ? 4 : 15
  const host = await bootMachine(2)
  const found: Record<'with' | 'without', number[]> = { with: [], without: [] }
  let [lines, reportsMs] = [0, 0]
  try {
    await prepare(host)
    for (let round = 0; round <= rounds; round += 1) {
      say(`telemetry: CPU of the controller, round ${round} of ${rounds}`)
      for (const way of round % 2 === 0 ? (['with', 'without'] as const) : (['without', 'with'] as const)) {
        const ms = await measure(host, way)
        // The first round fills caches.
        if (round > 0) found[way].push(ms)
      }
    }
    const printed = await host.must([NODE, '-e', WRITE_REPORTS])
    ;[lines = 0, reportsMs = 0] = printed.trim().split(' ').map(Number)
  } finally {
    await host.stop()
  }
  return report(found, lines, reportsMs)
}

async function prepare(host: Host): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'comfy-machine-bench-'))
  try {
    for (const [way, plugins] of [
      ['with', []],
      ['without', [noTrace]],
    ] as const) {
      await buildProgram({ folder, plugins })
      await host.copyIn(path.join(folder, 'chunks'), `${PROGRAM}/chunks`)
      await host.copyIn(path.join(folder, 'commands'), `/opt/bench/${way}`)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function measure(host: Host, way: 'with' | 'without'): Promise<number> {
  await stopMachine(host)
  await host.must(['cp', `/opt/bench/${way}/up.js`, `${PROGRAM}/commands/up.js`])
  const before = await spoolBytes(host)
  await startMachine(host)
  const ms = Number(/^usage_usec ([0-9]+)$/m.exec(await host.read(CPU_FILE))?.[1]) / 1000
  if ((await spoolBytes(host)) > before !== (way === 'with'))
    throw new Error(`the controller "${way}" trace is not what it says`)
  return ms
}

async function spoolBytes(host: Host): Promise<number> {
  return Number(await host.must('cat /var/lib/comfy-machine/telemetry/controller/*.ndjson | wc -c'))
}

function report(
  found: Readonly<Record<'with' | 'without', Sample>>,
  lines: number,
  reportsMs: number,
): readonly Finding[] {
  const differences = found.with.map((ms, index) => ms - (found.without[index] ?? Number.NaN))
  const cost = median(differences)
  process.stdout.write(
    table(`CPU of the controller until READY=1, 2 mock GPUs, ${found.with.length} rounds`, [
      ['', 'ms: median (least–greatest)'],
      ['as it is', spread(found.with)],
      ['built without the trace', spread(found.without)],
      ['difference, pair by pair', spread(differences)],
      ['difference of the medians', shown(median(found.with) - median(found.without))],
      [`${lines} lines of reports, written by units`, shown(reportsMs)],
    ]),
  )
  const beside = `controller without trace ${shown(median(found.without))} ms`
  const figure = "CPU of a startup's trace outside the exporter, ms"
  const value = cost + reportsMs
  return [{ figure, ours: `${shown(value)} ms`, beside, value, goal: GOAL_MS }]
}
