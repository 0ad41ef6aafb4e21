import type { Host } from '../host/host.ts'
import { type Finding, shown, table } from './figures.ts'
import { type BenchOptions, bootMachine, say, startMachine, stopMachine } from './machine.ts'

// In the first ten seconds after its start V8 still collects the garbage of the start.
const SETTLE_S = 15

interface Resident {
  readonly name: string
  readonly rssMB: number
  readonly pssMB: number
  readonly idleMsPerS: number
}

interface Goals {
  readonly rssMB: number
  readonly idleMsPerS: number | null
}

const PROCESSES: Readonly<Record<string, { readonly unit: string; readonly goals: Goals }>> = {
  controller: { unit: 'comfy-machine.service', goals: { rssMB: 70, idleMsPerS: 1 } },
  health: { unit: 'comfy-health.service', goals: { rssMB: 60, idleMsPerS: null } },
  worker: { unit: 'redis-worker@gpu0.service', goals: { rssMB: 90, idleMsPerS: 2 } },
}

/** Memory and idle CPU of what stays resident, after a start with nothing to install, with 2 GPUs and with the most that was asked for. */
export async function benchResident(options: BenchOptions): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const gpus of [...new Set([2, Math.max(2, ...options.gpus)])]) {
    const seconds = options.quick ? 20 : 40
    say(`resident: ${gpus} GPUs, idle for ${seconds} s`)
    const host = await bootMachine(gpus)
    try {
      await stopMachine(host)
      await startMachine(host)
      const residents = await measure(host, seconds)
      const rows = residents.map(({ name, rssMB, pssMB, idleMsPerS }) => [
        name,
        shown(rssMB),
        shown(pssMB),
        shown(idleMsPerS),
      ])
      const head = ['', 'RSS MB', 'PSS MB', 'idle CPU ms/s']
      process.stdout.write(table(`Resident processes, ${gpus} GPUs, idle for ${seconds} s`, [head, ...rows]))
      findings.push(...residents.flatMap((resident) => findingsOf(resident, gpus)))
    } finally {
      await host.stop()
    }
  }
  return findings
}

async function measure(host: Host, seconds: number): Promise<readonly Resident[]> {
  await sleep(SETTLE_S)
  const entries = await Promise.all(
    Object.entries(PROCESSES).map(async ([name, { unit }]) => {
      const pid = (await host.must(['systemctl', 'show', '-p', 'MainPID', '--value', unit])).trim()
      return { name, pid, before: await cpuMs(host, pid) }
    }),
  )
  const begun = performance.now()
  await sleep(seconds)
  return await Promise.all(
    entries.map(async ({ name, pid, before }) => {
      const elapsedS = (performance.now() - begun) / 1000
      const after = await cpuMs(host, pid)
      const memory = await host.read(`/proc/${pid}/smaps_rollup`)
      const kB = (field: string): number => Number(new RegExp(`^${field}: +([0-9]+) kB`, 'm').exec(memory)?.[1])
      const [rssMB, pssMB] = [(kB('Rss') * 1024) / 1e6, (kB('Pss') * 1024) / 1e6]
      return { name, rssMB, pssMB, idleMsPerS: (after - before) / elapsedS }
    }),
  )
}

/**
 * Time that the threads of a process have run, from /proc/PID/task/TID/schedstat, nanoseconds. The ticks of proc_pid_stat(5)
 * would not do: a process that is woken by timers, for microseconds, is charged whole ticks of 10 ms at random.
 */
async function cpuMs(host: Host, pid: string): Promise<number> {
  const threads = await host.must(['sh', '-c', `cat /proc/${pid}/task/*/schedstat`])
  const nanoseconds = threads
    .trim()
    .split('\n')
    .map((line) => Number(line.split(' ')[0]))
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e6
}

function findingsOf({ name, rssMB, pssMB, idleMsPerS }: Resident, gpus: number): readonly Finding[] {
  const goals = PROCESSES[name]?.goals
  if (goals === undefined) return []
  const memory: Finding = {
    figure: `memory of ${name}, ${gpus} GPUs`,
    ours: `${shown(rssMB)} MB`,
    beside: `PSS ${shown(pssMB)} MB`,
    value: rssMB,
    goal: goals.rssMB,
  }
  if (goals.idleMsPerS === null) return [memory]
  const figure = `idle CPU of ${name}, ${gpus} GPUs`
  const ours = `${shown(idleMsPerS)} ms/s`
  return [memory, { figure, ours, beside: '–', value: idleMsPerS, goal: goals.idleMsPerS }]
}

async function sleep(seconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
}
