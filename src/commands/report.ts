import { basename, join, resolve } from 'node:path'
import { parseEnv } from '../config/parse-env.ts'
import { MachineError } from '../errors.ts'
import { STATE_FILE } from '../health/record.ts'
import { isSecretName, redact, redactEnvironment } from '../health/redact.ts'
import { tarArchive } from '../host/archive.ts'
import { systemClock } from '../host/clock.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import type { Archive, ArchiveEntry, Clock, Exec, Files, Terminal } from '../host/ports.ts'
import { evidenceDirectory, LOCK_FILE, placesOf } from '../plan/places.ts'
import { type MachinePlan, PLAN_FILE } from '../plan/plan.ts'

/** What `comfy-machine report` may be told. */
export interface ReportOptions {
  /** Where the bundle is written; by default comfy-machine-report-<time>.tar.gz in the current directory. */
  readonly out?: string
}

/** What the report needs of the outside. */
export interface ReportPorts {
  readonly files: Files
  readonly exec: Exec
  readonly archive: Archive
  readonly clock: Clock
  readonly terminal: Terminal
}

const UNIT_DIRECTORY = '/run/systemd/system'
const SECRET_DIRECTORY = '/run/comfy-machine/secrets'
const CONFIG_FILE = '/etc/comfy-machine/machine.env'
const SECRETS_FILE = '/etc/comfy-machine/secrets.env'
const MAPPING_FILE = '/etc/comfy-machine/service-mapping.json'
const WORKSPACE = '/var/lib/comfy-machine'
const OWN_UNIT = /^(comfy|redis-worker@)/
const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', SYSTEMD_COLORS: '0' }
const TIMEOUT_MS = 30_000

/** Commands whose output goes into the bundle, by the name of the file. */
const COMMANDS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  'journal.txt': [
    'journalctl',
    ...['-b', '--no-pager', '-o', 'short-iso', '-n', '5000', '-u', 'comfy*', '-u', 'redis-worker*'],
  ],
  'trace.txt': ['comfy-machine', 'trace'],
  'trace.json': ['comfy-machine', 'trace', '--json'],
  'traces.txt': ['comfy-machine', 'trace', '--list'],
  'units.txt': ['systemctl', 'list-units', '--all', '--no-pager', '--full', 'comfy*', 'redis-worker*'],
  'jobs.txt': ['systemctl', 'list-jobs', '--no-pager', '--full'],
  'versions/systemd.txt': ['systemctl', '--version'],
  'versions/kernel.txt': ['uname', '-a'],
  'versions/package.txt': ['dpkg-query', '-W', 'comfy-machine', 'python3', 'git', 'redis-server'],
  'versions/nvidia.txt': ['nvidia-smi'],
  'disk.txt': ['df', '-h'],
  'memory.txt': ['free', '-m'],
}

/** `comfy-machine report`: writes a support bundle without secrets; resolves to the exit code. */
export function reportCommand(options: ReportOptions, terminal: Terminal): Promise<number> {
  const ports = { files: systemFiles, exec: systemExec, archive: tarArchive, clock: systemClock, terminal }
  return report(options, ports)
}

/** The bundle over given ports. */
export async function report(options: ReportOptions, ports: ReportPorts): Promise<number> {
  const time = new Date(ports.clock.nowUs() / 1000).toISOString().replace(/[:-]|\.\d+/g, '')
  const out = resolve(options.out ?? `comfy-machine-report-${time}.tar.gz`)
  const secrets = await readSecretValues(ports.files).catch((error: unknown) => {
    if ((error as { code?: unknown }).code !== 'EACCES') throw error
    const hint = 'Run sudo comfy-machine report.'
    throw new MachineError('CM0002', 'only root can make the report', { cause: error, hint })
  })
  const entries = [...(await readFiles(ports.files, secrets)), ...(await runCommands(ports.exec, secrets))]
  await ports.archive.pack(out, [...entries, { path: 'README.txt', text: readme(entries) }])
  ports.terminal.write(`${out}\n`)
  return 0
}

async function readFiles(files: Files, secrets: readonly string[]): Promise<readonly ArchiveEntry[]> {
  const names = (await files.list(UNIT_DIRECTORY)).filter((name) => OWN_UNIT.test(name))
  const dropIns = await Promise.all(
    names
      .filter((name) => name.endsWith('.d'))
      .map(async (name) => (await files.list(join(UNIT_DIRECTORY, name))).map((part) => join(name, part))),
  )
  const units = [...names.filter((name) => !name.endsWith('.d')), ...dropIns.flat()]
  const sources = [STATE_FILE, PLAN_FILE, MAPPING_FILE, '/etc/os-release'].map(
    (path) => [basename(path), path] as const,
  )
  const all = [...sources, ...units.map((name) => [join('units', name), join(UNIT_DIRECTORY, name)] as const)]
  const found = await Promise.all(
    all.map(async ([path, source]) => {
      const text = await files.readText(source)
      return text === undefined ? [] : [{ path, text: redact(text, secrets) }]
    }),
  )
  const installed = (await readInstalled(files)).map(({ path, text }) => ({ path, text: redact(text, secrets) }))
  const config = await files.readText(CONFIG_FILE)
  const settings = config === undefined ? [] : [{ path: 'machine.env', text: redactEnvironment(config, secrets) }]
  return [...found.flat(), ...installed, ...settings]
}

/** What the machine knows of its generations: their locks, the rollout, and what was found when a ComfyUI started. */
async function readInstalled(files: Files): Promise<readonly ArchiveEntry[]> {
  const plan = await files.readText(PLAN_FILE)
  const workspace =
    plan === undefined ? WORKSPACE : ((JSON.parse(plan) as Partial<MachinePlan>).paths?.workspace ?? WORKSPACE)
  const { home, rollout } = placesOf(workspace)
  const pointers = (await files.list(home)).filter((name) => /^(current|next|gpu\d+)$/.test(name))
  const locks = pointers.map((name) => [join('comfyui', name, LOCK_FILE), join(home, name, LOCK_FILE)] as const)
  const gpus = (await files.list(join(workspace, 'instances'))).filter((name) => /^gpu\d+$/.test(name))
  const evidence = await Promise.all(
    gpus.map(async (gpu) => {
      const directory = evidenceDirectory(workspace, gpu)
      // ComfyUI's user may have put anything there.
      if ((await files.lstat(directory))?.kind !== 'directory') return []
      const names = (await files.list(directory)).filter((name) => name.endsWith('.json'))
      return names.map((name) => [join('evidence', gpu, name), join(directory, name)] as const)
    }),
  )
  const all = [['comfyui/rollout.json', rollout] as const, ...locks, ...evidence.flat()]
  const found = await Promise.all(
    all.map(async ([path, source]) => {
      const text = await files.readForeign(source)
      return text === undefined ? [] : [{ path, text }]
    }),
  )
  return found.flat()
}

async function runCommands(exec: Exec, secrets: readonly string[]): Promise<readonly ArchiveEntry[]> {
  const named = Object.entries(COMMANDS)
  return Promise.all(
    named.map(async ([path, argv]) => {
      const { code, stdout, stderr } = await exec.run(argv, { env: ENVIRONMENT, timeoutMs: TIMEOUT_MS })
      const end = code === 0 ? '' : `\n${argv.join(' ')} ended with ${code ?? 'a signal'}: ${stderr}`
      return { path, text: redact(`${stdout}${end}`, secrets) }
    }),
  )
}

/** Values of secrets, only to be taken out of everything else wherever they stand. */
async function readSecretValues(files: Files): Promise<readonly string[]> {
  const names = await files.list(SECRET_DIRECTORY)
  const credentials = await Promise.all(names.map((name) => files.readText(join(SECRET_DIRECTORY, name))))
  const secrets = parseEnv((await files.readText(SECRETS_FILE)) ?? '', SECRETS_FILE).assignments
  const settings = parseEnv((await files.readText(CONFIG_FILE)) ?? '', CONFIG_FILE).assignments
  const values = [...secrets, ...settings.filter(({ name }) => isSecretName(name))].map(({ value }) => value)
  return [...credentials.flatMap((text) => text ?? []), ...values]
}

function readme(entries: readonly ArchiveEntry[]): string {
  const list = entries.map(({ path }) => `  ${path}`).join('\n')
  return `A support bundle of comfy-machine. Values that are secret or look so are replaced.\nLook it through before you pass it on.\n\n${list}\n`
}
