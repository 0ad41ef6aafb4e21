import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Host } from '../host/host.ts'
import { projectRoot } from '../host/paths.ts'
import { type Finding, median, ratios, type Sample, shown, spread, sums, table } from './figures.ts'
import { type BenchOptions, bootMachine, inside, say, startMachine, stopMachine, timed } from './machine.ts'

const PM2_FOLDER = '/opt/pm2/node_modules'
const ROUNDS: Readonly<Record<number, number>> = { 1: 9, 8: 7, 56: 3 }

interface Rounds {
  readonly gpus: number
  readonly ours: number[]
  readonly floor: number[]
  readonly comfyui: number[]
  readonly pm2: number[]
}

/**
 * A start with nothing to install, beside what it is made of and beside PM2: the same units with bodies that do nothing,
 * started by systemctl; ComfyUI's own start; and as many Node services as the machine has (one for each ComfyUI, one for each worker) under PM2.
 */
export async function benchStart(options: BenchOptions): Promise<readonly Finding[]> {
  const all: Rounds[] = []
  for (const gpus of options.gpus) all.push(await measure(gpus, options.quick ? 2 : (ROUNDS[gpus] ?? 5)))
  const rows = all.flatMap(rowsOf)
  const head = ['', 'ms: median (least–greatest)', 'ours / this, pair by pair']
  process.stdout.write(table('A start with nothing to install', [head, ...rows]))
  return all.flatMap(findingsOf)
}

async function measure(gpus: number, rounds: number): Promise<Rounds> {
  say(`start: ${gpus} GPUs, installing`)
  const host = await bootMachine(gpus)
  try {
    await copyPm2(host)
    await prepareFloor(host)
    const found: Rounds = { gpus, ours: [], floor: [], comfyui: [], pm2: [] }
    for (let round = 1; round <= rounds; round += 1) {
      say(`start: ${gpus} GPUs, round ${round} of ${rounds}`)
      await stopMachine(host)
      found.ours.push(await startMachine(host))
      await stopMachine(host)
      found.floor.push(await startFloor(host))
      found.comfyui.push(await inside(host, 'comfyui'))
      found.pm2.push(await inside(host, 'pm2', PM2_FOLDER, 2 * gpus))
    }
    return found
  } finally {
    await host.stop()
  }
}

/** The very unit files that were rendered, except that oneshots run /bin/true and the others sleep. */
async function prepareFloor(host: Host): Promise<void> {
  await host.must(`set -e; mkdir -p /run/bench/ours /run/bench/floor; cd /run/systemd/system
cp comfy-*.* comfyui@*.service redis-worker@*.service /run/bench/ours/
for unit in *.service *.socket *.target; do
  body='/bin/sleep infinity'; if grep -qx Type=oneshot "$unit"; then body=/bin/true; fi
  sed -E "s#^ExecStart=.*#ExecStart=$body#; /^ExecStartPost=/d; s/^Type=notify$/Type=exec/" "$unit" >"/run/bench/floor/$unit"
done`)
}

async function startFloor(host: Host): Promise<number> {
  const start =
    '{ cp /run/bench/floor/* /run/systemd/system/ && systemctl daemon-reload && systemctl start comfy-machine.target; }'
  const ms = await timed(host, start)
  await stopMachine(host)
  await host.must('cp /run/bench/ours/* /run/systemd/system/ && systemctl daemon-reload')
  return ms
}

/** Copies PM2 with everything it depends on, by the lock file, to where the host's runtime finds it. */
async function copyPm2(host: Host): Promise<void> {
  const lock = JSON.parse(await readFile(path.join(projectRoot, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<
      Record<string, { readonly dependencies?: object; readonly optionalDependencies?: object }>
    >
  }
  const wanted = new Set<string>()
  const add = (from: string, name: string): void => {
    const place = placesOf(from, name).find((each) => lock.packages[each] !== undefined)
    if (place === undefined || wanted.has(place) || !existsSync(path.join(projectRoot, place))) return
    wanted.add(place)
    const { dependencies = {}, optionalDependencies = {} } = lock.packages[place] ?? {}
    for (const inner of Object.keys({ ...dependencies, ...optionalDependencies })) add(place, inner)
  }
  add('', 'pm2')
  const folder = await mkdtemp(path.join(tmpdir(), 'comfy-machine-pm2-'))
  try {
    for (const place of wanted) {
      const to = path.join(folder, path.relative('node_modules', place))
      await cp(path.join(projectRoot, place), to, { recursive: true })
    }
    await host.copyIn(folder, PM2_FOLDER)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Where Node looks for a package that a package of the lock file asks for, innermost first. */
function placesOf(from: string, name: string): readonly string[] {
  const places = from === '' ? [] : [`${from}/node_modules/${name}`]
  for (let at = from.lastIndexOf('/node_modules/'); at >= 0; at = from.lastIndexOf('/node_modules/', at - 1)) {
    places.push(`${from.slice(0, at)}/node_modules/${name}`)
  }
  return [...places, `node_modules/${name}`]
}

function limitOf({ floor, comfyui }: Rounds): Sample {
  return sums(floor, comfyui)
}

function rowsOf(found: Rounds): readonly (readonly string[])[] {
  const { gpus, ours, floor, comfyui, pm2 } = found
  const row = (name: string, sample: Sample): readonly string[] => [name, spread(sample), spread(ratios(ours, sample))]
  return [
    [`${gpus} GPU${gpus === 1 ? '' : 's'}: comfy-machine`, spread(ours), ''],
    row('  the same units with empty bodies, systemctl', floor),
    row(`  ${gpus} × ComfyUI alone, all at once, until all answer`, comfyui),
    row('  both together', limitOf(found)),
    row(`  PM2 starting ${2 * gpus} Node services until all answer`, pm2),
  ]
}

function findingsOf(found: Rounds): readonly Finding[] {
  const { gpus, ours, pm2 } = found
  const limit = limitOf(found)
  const figure = `start with nothing to install, ${gpus} GPU${gpus === 1 ? '' : 's'}`
  return [
    {
      figure,
      ours: `${shown(median(ours))} ms`,
      beside: `empty units + ComfyUI ${shown(median(limit))} ms`,
      value: median(ratios(ours, limit)),
      goal: 1.5,
    },
    {
      figure,
      ours: `${shown(median(ours))} ms`,
      beside: `PM2, ${2 * gpus} services ${shown(median(pm2))} ms`,
      value: median(ratios(ours, pm2)),
      goal: null,
    },
  ]
}
