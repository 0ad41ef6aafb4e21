import { machineEnv } from '../fixtures/machine-env.ts'
import type { Host } from '../host/host.ts'
import { type Finding, median, quantile, ratios, type Sample, shown, spread, table } from './figures.ts'
import { type BenchOptions, bootMachine, say, startMachine, stopMachine } from './machine.ts'
import { turned } from './telemetry-exporter.ts'

// TEST-NET-2, RFC 5737. Within a host it is routed to the loopback device, where nobody takes or refuses it.
const SILENT = '198.51.100.1'
const COLLECTOR = 'http://127.0.0.1:4317'
const ROUNDS: Readonly<Record<number, number>> = { 1: 13, 8: 7 }

const WITHOUT = 'without telemetry'
const AGAIN = 'without telemetry, measured again'
const STOPPED = 'collector hangs (SIGSTOP)'
const NO_ANSWER = 'address that never answers'

interface Variant {
  readonly endpoint: string | undefined
  readonly isStopped?: boolean
}

const VARIANTS: Readonly<Record<string, Variant>> = {
  [WITHOUT]: { endpoint: undefined },
  'collector answers': { endpoint: COLLECTOR },
  [STOPPED]: { endpoint: COLLECTOR, isStopped: true },
  [NO_ANSWER]: { endpoint: `http://${SILENT}:4317` },
  [AGAIN]: { endpoint: undefined },
}

/**
 * A start with nothing to install, with and without a collector. What may be noise is measured in the same rounds: the start without
 * telemetry stands among the others twice. Units are rendered anew where the endpoint changes, so each start that counts follows one that does not.
 */
export async function benchHungCollector(options: BenchOptions): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const gpus of [1, 8]) findings.push(...(await compare(gpus, options.quick ? 3 : (ROUNDS[gpus] ?? 5))))
  return findings
}

async function compare(gpus: number, rounds: number): Promise<readonly Finding[]> {
  say(`telemetry: start of ${gpus} GPUs, installing`)
  const host = await bootMachine(gpus)
  const found = new Map<string, number[]>()
  try {
    await host.must(`ip route add ${SILENT}/32 dev lo`)
    for (let round = 1; round <= rounds; round += 1) {
      say(`telemetry: start of ${gpus} GPUs, round ${round} of ${rounds}`)
      for (const [name, variant] of turned(Object.entries(VARIANTS), round))
        found.set(name, [...(found.get(name) ?? []), await measure(host, gpus, variant)])
    }
  } finally {
    await host.stop()
  }
  return report(gpus, (name) => found.get(name) ?? [])
}

async function measure(host: Host, gpus: number, { endpoint, isStopped = false }: Variant): Promise<number> {
  const settings = { MOCK_GPU_NUM: String(gpus), OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }
  await host.write('/etc/comfy-machine/machine.env', machineEnv(settings))
  await stopMachine(host)
  if (isStopped) await host.must('systemctl kill --signal=STOP fixture-otel')
  try {
    await startMachine(host)
    await stopMachine(host)
    return await startMachine(host)
  } finally {
    if (isStopped) await host.must('systemctl kill --signal=CONT fixture-otel')
  }
}

function report(gpus: number, of: (name: string) => Sample): readonly Finding[] {
  const without = of(WITHOUT)
  const noise = ratios(of(AGAIN), without)
  const odd = without.filter((_, index) => index % 2 === 0)
  const even = without.filter((_, index) => index % 2 === 1)
  const rows = Object.keys(VARIANTS).map((name) => [name, spread(of(name)), spread(ratios(of(name), without))])
  const halves = ['  without, odd rounds / even rounds', `${shown(median(odd))} / ${shown(median(even))}`]
  const middle = [quantile(noise, 0.25), quantile(noise, 0.75)].map(shown).join('–')
  process.stdout.write(
    table(`A start with nothing to install, ${gpus} mock GPUs, ${without.length} rounds`, [
      ['', 'ms: median (least–greatest)', 'this / without, pair by pair'],
      ...rows,
      [...halves, shown(median(odd) / median(even))],
      ['  middle half of "again" / without', '', middle],
    ]),
  )
  return [STOPPED, NO_ANSWER].map((name) => ({
    figure: `start, ${gpus} GPU${gpus === 1 ? '' : 's'}: ${name}`,
    ours: `${shown(median(of(name)))} ms`,
    beside: `without ${shown(median(without))} ms; again/without ${middle}`,
    value: median(ratios(of(name), without)),
    // What the very same start reaches against itself in three pairs of four.
    goal: Number(Math.max(1.01, quantile(noise, 0.75)).toFixed(3)),
  }))
}
