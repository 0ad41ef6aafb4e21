import { machineEnv, secretsEnv } from '../fixtures/machine-env.ts'
import { componentNode, writeComponents } from '../fixtures/scenario.ts'
import type { Host } from '../host/host.ts'
import { bootInstalledHost } from '../host/installed.ts'
import { type Finding, median, shown, spread, table } from './figures.ts'
import { type BenchOptions, say, startMachine, stopMachine } from './machine.ts'
import { makeNodeRepositories, nodeName, PACKAGES } from './node-repositories.ts'

const NODES = 60
const CHANGED = 7
const SAME_GOAL_MS = 300
const CHANGED_GOAL_S = 5
const INSTALLERS = ['comfy-install-comfyui', 'comfy-discover', 'comfy-install-nodes', 'comfy-install-models'] as const

/**
 * A machine with 60 custom nodes, one GPU: its first generation, starts with nothing changed, and next generations in which one
 * node has another commit. Times are systemd's own: from the begin of the first installer to the end of the last one.
 */
export async function benchGenerations({ quick }: BenchOptions): Promise<readonly Finding[]> {
  const rounds = quick ? 2 : 5
  const host = await bootInstalledHost({ name: 'bench' })
  try {
    say(`generations: a machine with ${NODES} custom nodes`)
    await prepare(host)
    await startMachine(host)
    const first = await phaseMs(host)
    const same: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      await stopMachine(host)
      await startMachine(host)
      same.push(await phaseMs(host))
    }
    const changed: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      say(`generations: one changed node, round ${round + 1}`)
      await wantNodes(host, await changeNode(host, round))
      await stopMachine(host)
      await startMachine(host)
      changed.push(await phaseMs(host))
    }
    const rows = [
      ['first generation', spread([first / 1000])],
      ['nothing changed', spread(same.map((ms) => ms / 1000))],
      ['next generation, one changed node', spread(changed.map((ms) => ms / 1000))],
    ]
    const heading = ['installers, wall time', 's: median (least–greatest)']
    process.stdout.write(table(`${NODES} custom nodes on a machine`, [heading, ...rows]))
    return [
      {
        figure: `component phase with nothing changed, ${NODES} nodes, ms`,
        ours: `${shown(median(same))} ms`,
        beside: 'four installers',
        value: median(same),
        goal: SAME_GOAL_MS,
      },
      {
        figure: `next generation with one changed node of ${NODES}, s`,
        ours: `${shown(median(changed) / 1000)} s`,
        beside: 'four installers',
        value: median(changed) / 1000,
        goal: CHANGED_GOAL_S,
      },
    ]
  } finally {
    await host.stop()
  }
}

async function prepare(host: Host): Promise<void> {
  await host.copyIn(makeNodeRepositories(NODES), '/srv/git')
  const names = JSON.stringify(PACKAGES.map((requirement) => requirement.replace(/[^a-z-].*/, '')))
  const program = `import sys; sys.path.insert(0, "/usr/local/lib/fixtures/servers"); import build
for name in ${names}: build.build_wheel(name, "2.0.0", (), "/srv/wheels")`
  await host.must(['python3', '-c', program])
  await writeComponents(host, 'workflows', {})
  await wantNodes(host)
  await host.write('/etc/comfy-machine/machine.env', machineEnv({ MOCK_GPU_NUM: '1', COMPONENTS: 'none' }))
  await host.write('/etc/comfy-machine/secrets.env', secretsEnv(), '0600')
}

async function wantNodes(host: Host, commit: string | null = null): Promise<void> {
  const nodes = Array.from({ length: NODES }, (_, index) => {
    const name = nodeName(index).replace(/\.git$/, '')
    return componentNode(name, { is_default: true, install_order: index, commit: index === CHANGED ? commit : null })
  })
  await writeComponents(host, 'defaults', nodes)
}

/** Adds a commit to one node's repository and answers its id. */
async function changeNode(host: Host, round: number): Promise<string> {
  const name = nodeName(CHANGED).replace(/\.git$/, '')
  const change = JSON.stringify({ branch: 'main', files: { 'change.txt': `${round}\n` } })
  const answer = await host.must(['curl', '-sSf', '-d', change, `http://127.0.0.1:7001/_commit/${name}`])
  return (JSON.parse(answer) as { readonly commit: string }).commit
}

/** Milliseconds from the begin of the first installer to the end of the last one of the present start. */
async function phaseMs(host: Host): Promise<number> {
  const properties = 'InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic'
  const text = await host.must(['systemctl', 'show', '-p', properties, ...INSTALLERS])
  const read = (name: string): readonly number[] =>
    [...text.matchAll(new RegExp(`^${name}TimestampMonotonic=(\\d+)$`, 'gm'))].map(([, us]) => Number(us))
  return (Math.max(...read('ActiveEnter')) - Math.min(...read('InactiveExit'))) / 1000
}
