import path from 'node:path'
import { machineEnv } from '../fixtures/machine-env.ts'
import type { Host } from '../host/host.ts'
import { bootInstalledHost } from '../host/installed.ts'
import { bundled } from './bundle.ts'
import { type Finding, median, ratios, type Sample, shown, spread, table } from './figures.ts'
import { type BenchOptions, say } from './machine.ts'

const INSIDE = '/opt/bench'
const BACKLOGS = [12_000, 100_000]
const WAYS = { ours: 'comfy-machine telemetry', sdk: 'SDK, BatchSpanProcessor', none: 'SDK, spans only made' } as const

type Way = keyof typeof WAYS

/** What `inside/telemetry.py` prints. */
interface Run {
  readonly wallMs: number
  readonly cpuMs: number
  readonly peakMB: number
  readonly sink: {
    readonly spans: number
    readonly different: number
    readonly requests: number
    readonly bytes: number
  }
}

/** Of one way and one number of spans, a run per round; `start` is the same program with a single span, of the same round. */
interface Series {
  readonly spans: number
  readonly runs: readonly Run[]
  readonly start: readonly Run[]
}

/**
 * The delivery of a backlog by `comfy-machine telemetry`, beside a program that makes the same spans with the SDK and sends them by
 * its BatchSpanProcessor and OTLP gRPC exporter, both to a sink that only counts, in a process of its own. What the SDK needs to make
 * spans is shown as well, because ours are made by another process.
 */
export async function benchExporter(options: BenchOptions): Promise<readonly Finding[]> {
  const rounds = options.quick ? 3 : 9
  const host = await bootInstalledHost({ name: 'bench' })
  const found: Record<Way, Map<number, Run[]>> = { ours: new Map(), sdk: new Map(), none: new Map() }
  try {
    await prepare(host)
    for (let round = 1; round <= rounds; round += 1) {
      say(`telemetry: exporter, round ${round} of ${rounds}`)
      for (const spans of [1, ...BACKLOGS]) {
        for (const way of turned(Object.keys(WAYS) as Way[], round)) {
          const run = await measure(host, way, spans)
          found[way].set(spans, [...(found[way].get(spans) ?? []), run])
        }
      }
    }
  } finally {
    await host.stop()
  }
  return BACKLOGS.flatMap((spans) => {
    const series = (way: Way): Series => ({
      spans,
      runs: found[way].get(spans) ?? [],
      start: found[way].get(1) ?? [],
    })
    return report(series('ours'), series('sdk'), series('none'))
  })
}

/** A list begun at another place in each round, so that none is always measured behind the same one. */
export function turned<T>(list: readonly T[], round: number): readonly T[] {
  const at = round % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

async function prepare(host: Host): Promise<void> {
  const settings = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318' }
  await host.write('/etc/comfy-machine/machine.env', machineEnv(settings))
  await host.copyIn(path.join(import.meta.dirname, 'inside'), INSIDE)
  for (const name of ['telemetry-outbox', 'telemetry-sdk', 'telemetry-sink'])
    await host.write(`${INSIDE}/${name}.mjs`, await bundled(name))
}

async function measure(host: Host, way: Way, spans: number): Promise<Run> {
  const run = JSON.parse(await host.must(['python3', `${INSIDE}/telemetry.py`, way, String(spans)])) as Run
  const { sink } = run
  if (way !== 'none' && (sink.spans !== spans || sink.different !== spans))
    throw new Error(`${WAYS[way]}: of ${spans} spans ${sink.spans} came, ${sink.different} different ones`)
  return run
}

const wall = ({ runs, start }: Series): Sample => runs.map(({ wallMs }, index) => wallMs - (start[index]?.wallMs ?? 0))
const speed = (series: Series): Sample => wall(series).map((ms) => (series.spans / ms) * 1000)
const drain = ({ runs }: Series): Sample => runs.map(({ wallMs }) => wallMs)
const memory = ({ runs }: Series): Sample => runs.map(({ peakMB }) => peakMB)

/** Milliseconds of CPU for 1,000 spans, without the start of the process. */
function cpu({ runs, start, spans }: Series): Sample {
  return runs.map(({ cpuMs }, index) => ((cpuMs - (start[index]?.cpuMs ?? 0)) / spans) * 1000)
}

function report(ours: Series, sdk: Series, none: Series): readonly Finding[] {
  const { spans } = ours
  const sending = cpu(sdk).map((ms, index) => ms - (cpu(none)[index] ?? 0))
  const requests = ({ runs }: Series): string => String(runs[0]?.sink.requests ?? 0)
  const row = (way: Way, series: Series): readonly string[] => [
    WAYS[way],
    spread(cpu(series)),
    spread(ratios(cpu(ours), cpu(series))),
    way === 'none' ? '' : spread(speed(series)),
    way === 'none' ? '' : spread(drain(series)),
    spread(memory(series)),
    spread(series.start.map(({ cpuMs }) => cpuMs)),
    way === 'none' ? '' : requests(series),
  ]
  const head = ['', 'CPU ms/1,000', 'ours / this', 'spans/s', 'all, ms', 'peak MB', 'start, CPU ms', 'requests']
  const onlySending = ['  difference: sending', spread(sending), spread(ratios(cpu(ours), sending))]
  const title = `A backlog of ${spans} spans, each received once, ${ours.runs.length} rounds`
  process.stdout.write(table(title, [head, row('ours', ours), row('sdk', sdk), row('none', none), onlySending]))
  const beside = (pick: (series: Series) => Sample, unit: string, figure: string, goal: number | null): Finding => ({
    figure: `${figure}, ${spans} spans`,
    ours: `${shown(median(pick(ours)))} ${unit}`,
    beside: `SDK ${shown(median(pick(sdk)))} ${unit}`,
    value: median(ratios(pick(ours), pick(sdk))),
    goal,
  })
  const findings = [
    beside(cpu, 'ms', 'exporter, CPU per 1,000 spans', 1),
    beside(memory, 'MB', 'exporter, most memory', 1),
    beside(wall, 'ms', 'exporter, wall time without start', null),
  ]
  if (spans > 12_000) return findings
  const drained = median(drain(ours)) / 1000
  const backlog = { figure: `backlog of ${spans} spans drained`, ours: `${shown(drained)} s`, beside: '–' }
  return [...findings, { ...backlog, value: drained, goal: 2 }]
}
