import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import path from 'node:path'
import { bootScript } from './boot-script.ts'
import { ended, must, type Result, type RunOptions, run } from './command.ts'
import { cgroupRoot, hostsRoot, removeLeftovers, removeStaleHosts } from './leftovers.ts'
import { setUp } from './setup.ts'

export interface HostOptions {
  /** Host name, unique on this machine by an added suffix; default `host`. Letters, digits and hyphens. */
  name?: string
  /** Folders laid over the base root file system, uppermost first; nobody writes to them. Default none. */
  layers?: readonly string[]
  /** true: an Ethernet device with an address that this machine reaches and nothing beyond it; false: loopback only. Default false. */
  network?: boolean
}

/** A booted throw-away Debian with systemd as PID 1; gone, with all it wrote, after stop() or with the process that booted it. */
export interface Host {
  readonly name: string
  /** Address this machine reaches it at, and this machine's address on that link; null without `network`. */
  readonly address: string | null
  readonly gateway: string | null
  /** PID of the host's systemd as this machine sees it; /proc/<pid>/root is its root file system. Another one after reboot(). */
  leaderPid(): number
  /** Runs a program, or a line of bash, as root inside; a failing one is a result, not an exception. */
  exec(command: string | readonly string[], options?: RunOptions): Promise<Result>
  /** As exec, but anything else than exit code 0 throws with the output; returns standard output. */
  must(command: string | readonly string[], options?: RunOptions): Promise<string>
  /** Runs the command again and again until it ends with code 0; throws its last output after timeoutMs, default 30,000. */
  waitFor(command: string | readonly string[], timeoutMs?: number): Promise<string>
  /** Text of a file inside; throws when it cannot be read. */
  read(file: string): Promise<string>
  /** Writes a file inside with its folders; mode as for chmod, default 0644. */
  write(file: string, content: string | Uint8Array, mode?: string): Promise<void>
  /** Copies a folder of this machine into a folder inside, contents into contents; owners become root. */
  copyIn(from: string, to: string): Promise<void>
  /** Copies what was written on top of the layers into a folder of this machine. */
  saveChanges(folder: string): Promise<void>
  /** Reboots, in an orderly way or as by its reset button, of which no process is told; files stay, /run is empty. */
  reboot(how?: 'orderly' | 'reset'): Promise<void>
  /** Ends the host like a pulled plug; resolves when nothing of it is left. May be called again. */
  stop(): Promise<void>
}

const path_ = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Boots a throw-away Debian and returns when its systemd has finished starting (`running`, or `degraded` by a unit that failed). */
export async function bootHost(options: HostOptions = {}): Promise<Host> {
  const base = await setUp()
  removeStaleHosts()
  const id = randomBytes(3).toString('hex')
  const name = `${options.name ?? 'host'}-${id}`
  const folder = path.join(hostsRoot, `${process.pid}-${id}`)
  const cgroup = path.join(cgroupRoot, `comfy-host-${process.pid}-${id}`)
  const link = options.network ? freeLink() : null
  await mkdir(folder, { recursive: true })
  const systemdOutside = existsSync('/run/systemd/system')
  const child = spawn('/usr/bin/unshare', ['--mount', '/bin/sh', '-c', bootScript], {
    // A session of its own: Ctrl-C reaches this process, which decides.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: path_,
      SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1',
      CGROUP: cgroup,
      FOLDER: folder,
      LOWER: [...(options.layers ?? []), base].join(':'),
      NAME: name,
      UUID: randomUUID(),
      KEEP_UNIT: systemdOutside ? '' : '--keep-unit',
      DEVICE: link === null ? '' : `cm${id}`,
      ADDRESS: link?.address ?? '',
      GATEWAY: link?.gateway ?? '',
    },
  })
  const console_: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => console_.push(chunk.toString('utf8')))
  }
  const stop = async (): Promise<void> => {
    const leader = leaderOf(child)
    if (leader !== null) kill(leader)
    if (!(await ended(child, 5_000))) child.kill('SIGKILL')
    await ended(child, 5_000)
    process.removeListener('exit', stopNow)
    child.stdin.destroy()
    await removeLeftovers(folder, cgroup)
  }
  const stopNow = (): void => {
    child.stdin.destroy()
  }
  process.once('exit', stopNow)
  try {
    let leader = await started(child, console_, null)
    const commands = inside(() => leader, child, folder)
    const reboot: Host['reboot'] = async (how = 'orderly') => {
      // Nothing of the host is left to say how a reset went.
      if (how === 'reset') await commands.exec(['systemctl', 'reboot', '--force', '--force'])
      else await commands.must(['systemctl', 'reboot', '--no-wall', '--no-block'])
      leader = await started(child, console_, leader)
    }
    return {
      name,
      address: link?.address ?? null,
      gateway: link?.gateway ?? null,
      leaderPid: () => leader,
      stop,
      reboot,
      ...commands,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function inside(
  leaderPid: () => number,
  child: ChildProcess,
  folder: string,
): Pick<Host, 'exec' | 'must' | 'waitFor' | 'read' | 'write' | 'copyIn' | 'saveChanges'> {
  const exec: Host['exec'] = async (command, options = {}) => await enter(leaderPid(), command, options)
  const must_: Host['must'] = async (command, options) => {
    const result = await exec(command, options)
    if (result.code === 0) return result.stdout
    const line = typeof command === 'string' ? command : command.join(' ')
    throw new Error(`in the host: ${line} ended with code ${result.code}\n${result.stdout}${result.stderr}`)
  }
  return {
    exec,
    must: must_,
    waitFor: async (command, timeoutMs = 30_000) => {
      const until = Date.now() + timeoutMs
      for (;;) {
        const result = await exec(command, { timeoutMs })
        if (result.code === 0) return result.stdout
        if (Date.now() > until) {
          throw new Error(
            `in the host: ${command} did not succeed within ${timeoutMs} ms\n${result.stdout}${result.stderr}`,
          )
        }
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    },
    read: async (file) => await must_(['cat', '--', file]),
    write: async (file, content, mode = '0644') => {
      const script = 'mkdir -p -- "$(dirname -- "$1")" && cat > "$1" && chmod -- "$2" "$1"'
      await must_(['sh', '-c', script, 'sh', file, mode], { input: content })
    },
    copyIn: async (from, to) => {
      await must_(['mkdir', '-p', '--', to])
      const script =
        'tar -C "$1" --owner=0 --group=0 -cf - . | nsenter --target "$2" --mount -- tar -C "$3" --no-overwrite-dir --keep-directory-symlink -xf -'
      await must(['sh', '-c', script, 'sh', from, String(leaderPid()), to])
    },
    saveChanges: async (target) => {
      await must(['nsenter', '--target', String(child.pid), '--mount', '--', 'cp', '-a', `${folder}/upper/.`, target])
    },
  }
}

async function enter(leaderPid: number, command: string | readonly string[], options: RunOptions): Promise<Result> {
  const timeoutMs = options.timeoutMs ?? 120_000
  const argv = typeof command === 'string' ? ['/bin/bash', '-c', command] : command
  const deadline = ['timeout', '--kill-after=1', String(timeoutMs / 1000)]
  const env = { PATH: path_, HOME: '/root', LANG: 'C.UTF-8', TERM: 'dumb', SYSTEMD_PAGER: '', ...options.env }
  return await run(['nsenter', '--target', String(leaderPid), '--all', '--', ...deadline, ...argv], {
    ...options,
    timeoutMs: timeoutMs + 5_000,
    env,
  })
}

/** Waits until a PID 1 other than `previous` has finished starting; returns its PID. */
async function started(child: ChildProcess, console_: readonly string[], previous: number | null): Promise<number> {
  const until = Date.now() + 60_000
  const told = (): string => console_.join('').slice(-4_000)
  while (Date.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the test host ended while booting\n${told()}`)
    const leader = leaderOf(child)
    if (leader !== null && leader !== previous && existsSync(`/proc/${leader}/root/run/systemd/private`)) {
      const state = await enter(leader, ['systemctl', 'is-system-running', '--wait'], { timeoutMs: 60_000 })
      if (/^(running|degraded)$/m.test(state.stdout)) return leader
    }
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
  throw new Error(`the test host did not finish booting within 60 s\n${told()}`)
}

/** PID of the host's PID 1: a grandchild with a PID namespace of its own; null while there is none. */
function leaderOf(child: ChildProcess): number | null {
  const children = (pid: string): string[] =>
    readOrEmpty(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean)
  const leader = children(String(child.pid))
    .flatMap(children)
    .find((pid) => /^NSpid:\t\d+\t1$/m.test(readOrEmpty(`/proc/${pid}/status`)))
  return leader === undefined ? null : Number(leader)
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return ''
    throw error
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** A /30 of 10.213.0.0/16 that no interface of this machine has. */
function freeLink(): { gateway: string; address: string } {
  const taken = new Set(
    Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((entry) => entry.address)),
  )
  for (;;) {
    const [third = 0, fourth = 0] = randomBytes(2)
    const gateway = `10.213.${third}.${(fourth & 0xfc) + 1}`
    if (!taken.has(gateway)) return { gateway, address: `10.213.${third}.${(fourth & 0xfc) + 2}` }
  }
}
