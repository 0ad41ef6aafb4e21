import { type Finding, median, ratios, type Sample, shown, spread, table } from './figures.ts'
import { type BenchOptions, bootMachine, say } from './machine.ts'

const NODE = '/usr/lib/comfy-machine/bin/node'
const COMMANDS: Readonly<Record<string, string>> = {
  'node -e 0 (bundled)': `${NODE} -e 0`,
  'comfy-machine --version': 'comfy-machine --version',
  'comfy-machine status': 'comfy-machine status',
  'systemctl list-units': "systemctl list-units 'comfy*'",
}
const BARE = 'node -e 0 (bundled)'

/** The commands an operator waits for, in turn with the bare runtime. */
export async function benchCommands(options: BenchOptions): Promise<readonly Finding[]> {
  const rounds = options.quick ? 15 : 50
  say(`commands: ${rounds} rounds`)
  const host = await bootMachine(2)
  const samples = new Map<string, number[]>()
  try {
    const lines = Object.values(COMMANDS).map(
      (command) => `s=$EPOCHREALTIME; ${command} >/dev/null; e=$EPOCHREALTIME; echo $(((\${e/./} - \${s/./})))`,
    )
    const script = `for round in $(seq ${rounds + 2}); do\n${lines.join('\n')}\ndone`
    const times = (await host.must(script, { timeoutMs: 300_000 })).trim().split('\n').map(Number)
    const names = Object.keys(COMMANDS)
    // The first two rounds fill the page cache.
    for (const [index, us] of times.slice(2 * names.length).entries()) {
      const name = names[index % names.length] ?? ''
      samples.set(name, [...(samples.get(name) ?? []), us / 1000])
    }
  } finally {
    await host.stop()
  }
  const bare = samples.get(BARE) ?? []
  const of = (name: string): Sample => samples.get(name) ?? []
  const rows = [...samples].map(([name, sample]) => [name, spread(sample), spread(ratios(sample, bare))])
  const head = ['', 'ms: median (least–greatest)', 'this / bare Node, pair by pair']
  process.stdout.write(table(`Commands, ${rounds} rounds`, [head, ...rows]))
  const [version, status] = [of('comfy-machine --version'), of('comfy-machine status')]
  return [
    {
      figure: 'comfy-machine --version',
      ours: `${shown(median(version))} ms`,
      beside: `node -e 0 ${shown(median(bare))} ms`,
      value: median(ratios(version, bare)),
      goal: 1.5,
    },
    {
      figure: 'comfy-machine status',
      ours: `${shown(median(status))} ms`,
      beside: `systemctl list-units ${shown(median(of('systemctl list-units')))} ms`,
      value: median(status),
      goal: 150,
    },
  ]
}
