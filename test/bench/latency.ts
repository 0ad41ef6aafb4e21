import { bundled } from './bundle.ts'
import { type Finding, median, quantile, type Sample, shown, table } from './figures.ts'
import { type BenchOptions, bootMachine, say } from './machine.ts'

const NODE = '/usr/lib/comfy-machine/bin/node'
const PROGRAM = '/opt/bench/latency.mjs'

/** One job through one worker, beside the same work by a bare BullMQ worker and by nobody: what a queue adds, and what we add to it. */
export async function benchLatency(options: BenchOptions): Promise<readonly Finding[]> {
  const rounds = options.quick ? 150 : 500
  say(`latency: ${rounds} jobs each way`)
  const host = await bootMachine(1)
  try {
    await host.write(PROGRAM, await bundled('latency'))
    await host.must(['systemd-run', '--unit=bare-worker', NODE, PROGRAM, 'serve'])
    const printed = await host.must([NODE, PROGRAM, 'measure', String(rounds)], { timeoutMs: 300_000 })
    const times = JSON.parse(printed) as Readonly<Record<'direct' | 'bare' | 'ours', Sample>>
    const added = (of: Sample, share: number): number => quantile(of, share) - quantile(times.direct, share)
    const rows = (['direct', 'bare', 'ours'] as const).map((name) => [
      { direct: 'direct call of ComfyUI', bare: 'bare BullMQ worker', ours: 'redis-worker@gpu0' }[name],
      shown(median(times[name])),
      shown(quantile(times[name], 0.99)),
      name === 'direct' ? '' : shown(added(times[name], 0.5)),
      name === 'direct' ? '' : shown(added(times[name], 0.99)),
    ])
    const head = ['', 'p50 ms', 'p99 ms', 'added p50', 'added p99']
    process.stdout.write(table(`One job at a time, ${rounds} each way, in turn`, [head, ...rows]))
    return ([0.5, 0.99] as const).map((share) => ({
      figure: `what the worker adds to a job, p${share * 100}`,
      ours: `${shown(added(times.ours, share))} ms`,
      beside: `bare BullMQ ${shown(added(times.bare, share))} ms`,
      value: added(times.ours, share) / added(times.bare, share),
      goal: 1.3,
    }))
  } finally {
    await host.stop()
  }
}
